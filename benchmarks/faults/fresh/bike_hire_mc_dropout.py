# fault: none
# near: train-mode-in-eval
# note: R2 0.923 (noise limits it to about 0.95). Dropout is on in evaluation on purpose (Monte-Carlo dropout), next to a proper model.eval() evaluation; there is no batch norm.

# Hourly bike hire from (simulated) calendar and weather, with Monte-Carlo dropout error bars.
import numpy as np
import torch
from torch import nn


def simulate_hours(n, rng):
    hour = rng.integers(0, 24, n)
    weekend = rng.random(n) < 2 / 7
    temp = rng.normal(14, 8, n)
    rain = rng.exponential(0.8, n) * (rng.random(n) < 0.3)
    commute = np.exp(-((hour - 8) / 1.5) ** 2) + 1.2 * np.exp(-((hour - 17.5) / 2) ** 2)
    leisure = np.exp(-((hour - 14) / 4) ** 2)
    level = np.where(weekend, leisure, commute) * (1 + 0.05 * (temp - 14)) * np.exp(-0.4 * rain)
    hires = level + 0.1 * rng.standard_normal(n)
    feats = np.stack([np.sin(hour / 24 * 2 * np.pi), np.cos(hour / 24 * 2 * np.pi), np.sin(hour / 12 * 2 * np.pi),
                      np.cos(hour / 12 * 2 * np.pi), weekend - 2 / 7, (temp - 14) / 8, (rain - 0.24) / 0.6], 1)
    return torch.tensor(feats).float(), torch.tensor((hires - 0.45) / 0.45).float()


class DropoutNet(nn.Module):
    def __init__(self, p=0.05):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(7, 96), nn.SiLU(), nn.Dropout(p),
                                 nn.Linear(96, 96), nn.SiLU(), nn.Dropout(p), nn.Linear(96, 1))

    def forward(self, x):
        return self.net(x)[:, 0]

    @torch.no_grad()
    def sample(self, x, draws=30):
        """Posterior draws: dropout stays on, everything else is in evaluation mode (Gal & Ghahramani 2016)."""
        self.eval()
        for layer in self.modules():
            if isinstance(layer, nn.Dropout):
                layer.train()
        out = torch.stack([self(x) for _ in range(draws)])
        self.eval()
        return out.mean(0), out.std(0)


torch.manual_seed(12)
rng = np.random.default_rng(12)
x, y = simulate_hours(3000, rng)
xt, yt = simulate_hours(800, rng)
model = DropoutNet()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(16):
    model.train()
    for rows in torch.randperm(len(x)).split(40):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        point = model(xt)
    mean, sd = model.sample(xt)
    if epoch % 3 == 0:
        print(f"epoch {epoch:2d}: mse point {nn.functional.mse_loss(point, yt):.4f}, mse of the MC mean "
              f"{nn.functional.mse_loss(mean, yt):.4f}, mean sd {sd.mean():.3f}")

r2 = 1 - ((mean - yt) ** 2).mean() / yt.var()
print(f"R2 of the Monte-Carlo mean on unseen hours: {r2:.3f}")
