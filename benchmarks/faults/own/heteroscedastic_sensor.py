# fault: none
# near: loss-diverging
# note: A Gaussian log-likelihood falls below zero, as densities above 1 make it; it levels off at the noise.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)


def readings(n):
    t = torch.rand(n, 1) * 4 - 2
    return t, torch.sin(2 * t) + (0.03 + 0.05 * t.abs()) * torch.randn(n, 1)


for step in range(600):
    t, y = readings(128)
    mean, log_variance = net(t).chunk(2, 1)
    loss = F.gaussian_nll_loss(mean, y, log_variance.exp())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
print("negative log-likelihood", loss.item())
