# fault: none
# near: train-mode-in-eval
# note: R2 0.92, coverage 0.966 of the 95 % band. Validation runs in eval mode; dropout (only it) is switched on under no_grad on purpose, for Monte-Carlo dropout. Valid loss is at the noise floor (0.25^2 / var).

"""Prediction intervals from Monte-Carlo dropout (Gal & Ghahramani 2016) on a synthetic energy-load table."""
import torch
import torch.nn as nn


def load_table(n, seed):
    g = torch.Generator().manual_seed(seed)
    hour = torch.rand(n, generator=g) * 24
    temp = torch.randn(n, generator=g)
    weekend = (torch.rand(n, generator=g) < 2 / 7).float()
    wind = torch.randn(n, generator=g)
    y = torch.sin(hour / 24 * 6.283) * (1 - 0.5 * weekend) + 0.4 * temp ** 2 - 0.3 * wind * temp
    y = y + 0.25 * torch.randn(n, generator=g)
    X = torch.stack([torch.sin(hour / 24 * 6.283), torch.cos(hour / 24 * 6.283), temp, weekend * 2 - 1, wind], 1)
    return X, y[:, None]


class BayesianMLP(nn.Module):
    def __init__(self, d_in=5, width=96, p=0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d_in, width), nn.SiLU(), nn.Dropout(p),
            nn.Linear(width, width), nn.SiLU(), nn.Dropout(p),
            nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x)

    def sample(self, x, n_samples):
        """Keep dropout on (and only dropout) while predicting."""
        self.eval()
        for m in self.modules():
            if isinstance(m, nn.Dropout):
                m.train()
        with torch.no_grad():
            draws = torch.stack([self(x) for _ in range(n_samples)])
        self.eval()
        return draws


def main():
    torch.manual_seed(0)
    X, y = load_table(3000, 1)
    Xv, yv = load_table(600, 2)
    Xt, yt = load_table(800, 3)
    mu, sd = y.mean(), y.std()
    y, yv, yt = ((v - mu) / sd for v in (y, yv, yt))
    model = BayesianMLP()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    mse = nn.MSELoss()
    for epoch in range(16):
        model.train()
        tot = 0.0
        for b in torch.randperm(len(X)).split(64):
            opt.zero_grad()
            loss = mse(model(X[b]), y[b])
            loss.backward()
            opt.step()
            tot += loss.item() * len(b)
        model.eval()
        with torch.no_grad():
            val = mse(model(Xv), yv).item()
        if epoch % 4 == 3:
            spread = model.sample(Xv, 20).std(0).mean().item()
            print(f"epoch {epoch + 1:2d} train {tot / len(X):.4f} valid {val:.4f} mc-spread {spread:.3f}")
    tau = val ** 0.5
    draws = model.sample(Xt, 60)
    mean = draws.mean(0)
    sigma = (draws.var(0) + tau ** 2).sqrt()
    inside = ((yt - mean).abs() < 1.96 * sigma).float().mean().item()
    r2 = 1 - mse(mean, yt).item() / yt.var().item()
    print(f"R2 {r2:.3f}, coverage of the 95% band {inside:.3f}")


if __name__ == "__main__":
    main()
