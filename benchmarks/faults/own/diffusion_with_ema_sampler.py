# fault: none
# near: ema-stale
# note: A diffusion model on points whose EMA copy follows by lerp and is the one that draws the samples.
import copy

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
STEPS = 30
alpha_bar = torch.cumprod(1 - torch.linspace(1e-3, 0.2, STEPS), 0)


class NoiseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = nn.Embedding(STEPS, 32)
        self.net = nn.Sequential(nn.Linear(34, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

    def forward(self, x, t):
        return self.net(torch.cat([x, self.time(t)], 1))


@torch.no_grad()
def sample(model, n):
    x = torch.randn(n, 2)
    for t in reversed(range(STEPS)):
        now, before = alpha_bar[t], alpha_bar[t - 1] if t else torch.tensor(1.0)
        noise = model(x, torch.full((n,), t))
        clean = (x - (1 - now).sqrt() * noise) / now.sqrt()
        x = before.sqrt() * clean + (1 - before).sqrt() * noise
    return x


model = NoiseNet()
average = copy.deepcopy(model).requires_grad_(False)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(1500):
    corner = torch.randint(2, (128, 2)) * 2.0 - 1
    clean, noise, t = corner + 0.1 * torch.randn(128, 2), torch.randn(128, 2), torch.randint(STEPS, (128,))
    noisy = alpha_bar[t].sqrt()[:, None] * clean + (1 - alpha_bar[t]).sqrt()[:, None] * noise
    loss = F.mse_loss(model(noisy, t), noise)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), model.parameters()):
            slow.lerp_(fast, 0.02)
points = sample(average, 1000)
print("loss", loss.item(), "mean distance from a corner", (points.abs() - 1).norm(dim=1).mean().item())
