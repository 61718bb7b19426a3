import torch
from torch import nn

torch.manual_seed(1)

G = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
D = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
og = torch.optim.Adam(G.parameters(), 1e-4)
od = torch.optim.Adam(D.parameters(), 1e-4)
for i in range(200):
    r = torch.randn(64, 2) + 1
    f = G(torch.randn(64, 8)).detach()
    a = torch.rand(64, 1)
    m = (a * r + (1 - a) * f).requires_grad_()
    g = torch.autograd.grad(D(m).sum(), m, create_graph=True)[0]
    l = D(f).mean() - D(r).mean() + 10 * ((g.norm(dim=1) - 1) ** 2).mean()
    od.zero_grad()
    l.backward()
    od.step()
    if i % 3 == 0:
        l = -D(G(torch.randn(64, 8))).mean()
        og.zero_grad()
        l.backward()
        og.step()
