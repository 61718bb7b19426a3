# fault: wrong-softmax-dim
# accept: double-softmax, batch-mixing
# note: softmax(dim=0) normalises over the examples of the batch; its logarithm goes into nll_loss.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
prototypes = torch.randn(5, 20)
net = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 5))
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for step in range(300):
    y = torch.randint(5, (32,))
    x = prototypes[y] + torch.randn(32, 20)
    probability = F.softmax(net(x), dim=0)
    loss = F.nll_loss(torch.log(probability + 1e-8), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
