# fault: loss-at-init
# note: The head is initialised with standard deviation 4: the first loss is ten times ln 6, and most of the training
# goes into making it small.
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(2000, 20)
y = (x @ torch.randn(20, 6) + 0.5 * torch.randn(2000, 6)).argmax(1)
body = nn.Sequential(nn.Linear(20, 64), nn.ReLU())
head = nn.Linear(64, 6)
nn.init.normal_(body[0].weight, std=0.5)
nn.init.normal_(head.weight, std=4.0)
model = nn.Sequential(body, head)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
losses = []
for epoch in range(10):
    for rows in torch.randperm(1600).split(64):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
print(f"first {losses[0]:.2f}, last {losses[-1]:.2f}")
