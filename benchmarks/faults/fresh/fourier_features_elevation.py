# fault: loss-not-decreasing
# accept: underfitting
# note: The Fourier matrix B is drawn anew in every forward pass instead of once: features carry no stable information. Unexplained variance .997, repaired (register_buffer) .0034.

"""Fit a terrain surface from survey points with Gaussian Fourier features (Tancik et al. 2020)."""
import numpy as np
import torch
import torch.nn as nn


class FourierFeatures(nn.Module):
    """x -> [cos(2 pi B x), sin(2 pi B x)] with a Gaussian matrix B."""

    def __init__(self, in_features, n_freq, sigma):
        super().__init__()
        self.in_features = in_features
        self.n_freq = n_freq
        self.sigma = sigma

    def forward(self, x):
        B = self.sigma * torch.randn(self.in_features, self.n_freq)
        z = 2 * np.pi * x @ B
        return torch.cat([torch.cos(z), torch.sin(z)], dim=-1)


class Surface(nn.Module):
    def __init__(self, n_freq=64, sigma=1.5, hidden=96):
        super().__init__()
        self.encode = FourierFeatures(2, n_freq, sigma)
        self.decode = nn.Sequential(
            nn.Linear(2 * n_freq, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, 1))

    def forward(self, xy):
        return self.decode(self.encode(xy))


def terrain(xy):
    x, y = xy[:, 0], xy[:, 1]
    h = np.sin(5 * x) * np.cos(4 * y) + 0.5 * np.sin(11 * x + 3 * y) + 0.3 * np.cos(9 * y * y)
    return (h / 0.68)[:, None]


def main():
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    xy = rng.uniform(-1, 1, (5000, 2))
    z = terrain(xy) + rng.normal(0, 0.05, (5000, 1))
    xy, z = torch.tensor(xy, dtype=torch.float32), torch.tensor(z, dtype=torch.float32)
    survey_xy, survey_z, check_xy, check_z = xy[:4000], z[:4000], xy[4000:], z[4000:]

    surface = Surface()
    optimizer = torch.optim.Adam(surface.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=25)
    mse = nn.MSELoss()
    for epoch in range(25):
        surface.train()
        train = 0.0
        for pick in torch.randperm(4000).split(80):
            loss = mse(surface(survey_xy[pick]), survey_z[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train += loss.item() / 50
        scheduler.step()
        surface.eval()
        with torch.no_grad():
            check = mse(surface(check_xy), check_z).item()
        print(f"epoch {epoch + 1:2d} | train mse {train:.4f} | check mse {check:.4f}")
    print(f"variance left unexplained at the check points: {check / check_z.var().item():.4f}")


if __name__ == "__main__":
    main()
