import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

X = torch.randn(2000, 6)
P = 300 + 50 * X[:, 0] + 20 * X[:, 1] * X[:, 2]
m = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1))
o = torch.optim.Adam(m.parameters(), 1e-2)
for e in range(20):
    for i in torch.randperm(2000).split(64):
        l = F.mse_loss(m(X[i]).squeeze(1), P[i])
        o.zero_grad()
        l.backward()
        o.step()
print(l.item())
