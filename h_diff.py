import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

X = torch.randn(2000, 2) * 0.3 + 1
m = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
o = torch.optim.Adam(m.parameters(), 1e-3)
for i in range(300):
    x = X[torch.randint(2000, (64,))]
    t = torch.rand(64, 1)
    n = torch.randn_like(x)
    z = (1 - t) * x + t * n
    l = F.mse_loss(m(torch.cat([z, t], 1)), n)
    o.zero_grad()
    l.backward()
    o.step()
