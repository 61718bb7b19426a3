import torch
from torch import nn

torch.manual_seed(1)

m = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 15))
o = torch.optim.Adam(m.parameters(), 1e-2)
for i in range(300):
    x = torch.randn(64, 1)
    y = x.abs() * torch.sign(torch.randn(64, 1)) + 0.1 * torch.randn(64, 1)
    a, mu, ls = m(x).chunk(3, 1)
    lp = -0.5 * ((y - mu) / ls.exp()) ** 2 - ls
    l = -torch.logsumexp(a.log_softmax(1) + lp, 1).mean()
    o.zero_grad()
    l.backward()
    o.step()
