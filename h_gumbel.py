import math

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

I = (torch.rand(2000, 32) < torch.rand(8, 32)[torch.randint(8, (2000,))]).float()
e = nn.Linear(32, 8)
d = nn.Linear(8, 32)
o = torch.optim.Adam([*e.parameters(), *d.parameters()], 5e-3)
for i in range(300):
    x = I[torch.randint(2000, (64,))]
    q = e(x)
    z = F.gumbel_softmax(q, tau=1.0)
    p = q.softmax(1)
    l = (
        F.binary_cross_entropy_with_logits(d(z), x, reduction="sum") / 64
        + (p * (torch.log(p + 1e-10) - math.log(1 / 8))).sum(1).mean()
    )
    o.zero_grad()
    l.backward()
    o.step()
