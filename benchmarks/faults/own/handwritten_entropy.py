# fault: nan-or-inf
# accept: update-too-large, log-softmax-mismatch
# note: Cross entropy by hand with torch.log(softmax): as soon as a probability underflows to 0, the product 0 * -inf is
# NaN. log_softmax has no such trouble.
import torch
from torch import nn
from torch.nn.functional import one_hot

torch.manual_seed(0)
x = 3 * torch.randn(1500, 12)
y = (x @ torch.randn(12, 8)).argmax(1)
net = nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 8))
optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
for epoch in range(20):
    for rows in torch.randperm(1500).split(50):
        probability = torch.softmax(net(x[rows]), dim=1)
        loss = -(one_hot(y[rows], 8) * torch.log(probability)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
