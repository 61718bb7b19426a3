import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

m = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 1))
o = torch.optim.Adam(m.parameters(), 3e-3)
for i in range(200):
    x = torch.randn(8, 1, 24, 24)
    x = F.avg_pool2d(x, 3, 1, 1)
    y = (x > 0.4).float()
    p = m(x)
    s = torch.sigmoid(p)
    dice = 1 - (2 * (s * y).sum() + 1) / (s.sum() + y.sum() + 1)
    l = F.binary_cross_entropy_with_logits(p, y) + dice
    o.zero_grad()
    l.backward()
    o.step()
