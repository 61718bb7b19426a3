import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

pi = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2), nn.Softmax(-1))
v = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
o = torch.optim.Adam([*pi.parameters(), *v.parameters()], 1e-3)
for i in range(250):
    x = torch.randn(40, 4)
    p = pi(x)
    d = torch.distributions.Categorical(p)
    a = d.sample()
    R = torch.arange(40, 0, -1).float() * (1 + 0.2 * torch.sign(x[:, 0]) * (a * 2 - 1.0))
    val = v(x)
    adv = R - val.squeeze(1).detach()
    l = (
        -(torch.log(p.gather(1, a[:, None]).squeeze(1)) * adv).mean()
        + 0.5 * F.smooth_l1_loss(val, R[:, None])
        + 0.01 * (p * p.log()).sum(1).mean()
    )
    o.zero_grad()
    l.backward()
    o.step()
