import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

m = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16))
o = torch.optim.Adam(m.parameters(), 1e-3)
for i in range(250):
    x = torch.randn(64, 16)
    z = F.normalize(m(torch.cat([x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)])), dim=1)
    s = z @ z.t() / 0.1
    s = s.masked_fill(torch.eye(128, dtype=torch.bool), -1e9)
    y = torch.arange(128).roll(64)
    l = F.cross_entropy(s, y)
    o.zero_grad()
    l.backward()
    o.step()
