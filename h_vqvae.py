import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

X = torch.randn(2000, 16) @ torch.randn(16, 16) * 0.3
e = nn.Linear(16, 4)
d = nn.Linear(4, 16)
cb = nn.Embedding(32, 4)
o = torch.optim.Adam([*e.parameters(), *d.parameters(), *cb.parameters()], 3e-3)
for i in range(300):
    x = X[torch.randint(2000, (64,))]
    z = e(x)
    k = torch.cdist(z, cb.weight).argmin(1)
    q = cb(k)
    l = F.mse_loss(q.detach(), z) * 0.25 + F.mse_loss(q, z.detach())
    q = z + (q - z).detach()
    l = l + F.mse_loss(d(q), x)
    o.zero_grad()
    l.backward()
    o.step()
