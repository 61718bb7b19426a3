import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

m = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 5))
W = torch.randn(16, 5)
mc = torch.compile(m, backend="eager")
o = torch.optim.Adam(m.parameters(), 1e-3)
for i in range(150):
    x = torch.randn(64, 16)
    l = F.cross_entropy(mc(x), (x @ W).argmax(1))
    o.zero_grad()
    l.backward()
    o.step()
