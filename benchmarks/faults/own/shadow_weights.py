# fault: ema-stale
# note: `shadow = decay * shadow + ...` binds a local name and leaves the averaged copy as it was at the start.
import copy

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)


class Ema:
    def __init__(self, model, decay=0.98):
        self.model, self.decay = copy.deepcopy(model).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, model):
        for shadow, weight in zip(self.model.parameters(), model.parameters()):
            shadow = self.decay * shadow + (1 - self.decay) * weight


net = nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
ema = Ema(net)
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
xv = torch.rand(300, 3) * 4 - 2
yv = torch.sin(xv[:, :1] * xv[:, 1:2]) + xv[:, 2:]
for step in range(400):
    x = torch.rand(64, 3) * 4 - 2
    y = torch.sin(x[:, :1] * x[:, 1:2]) + x[:, 2:]
    loss = F.mse_loss(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ema.update(net)
    if step % 50 == 49:
        with torch.no_grad():
            print(step, F.mse_loss(net(xv), yv).item(), F.mse_loss(ema.model(xv), yv).item())
