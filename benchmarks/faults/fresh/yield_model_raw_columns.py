# fault: none
# near: input-not-normalized
# note: Test RMSE .262 (noise .25), R2 .959. Raw columns go into the model, whose first layer standardises them with training statistics.

"""Crop yield from raw agronomy columns. The model carries its own normalisation layer (fitted once on the
training part), so the exported artefact can be fed with raw values."""
import copy
from collections import namedtuple

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

Metrics = namedtuple("Metrics", "rmse r2")


def field_trials(n, seed):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({
        "rain_mm": rng.normal(620, 140, n), "altitude_m": rng.normal(1450, 400, n), "soil_ph": rng.normal(6.4, 0.5, n),
        "nitrogen_kg_ha": rng.normal(95, 30, n), "sowing_day": rng.normal(112, 9, n), "pressure_pa": rng.normal(85200, 900, n)})
    z = lambda c, m, s: (df[c] - m) / s
    t = (5.2 + 0.9 * np.tanh(z("rain_mm", 620, 140)) + 0.7 * z("nitrogen_kg_ha", 95, 30)
         - 0.35 * z("nitrogen_kg_ha", 95, 30) ** 2 - 0.5 * z("soil_ph", 6.4, 0.5) ** 2
         + 0.4 * z("sowing_day", 112, 9) * z("altitude_m", 1450, 400) + rng.normal(0, 0.25, n))
    return df, t


class Normalization(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("std", torch.ones(n))

    def adapt(self, x):
        self.mean.copy_(x.mean(0))
        self.std.copy_(x.std(0))

    def forward(self, x):
        return (x - self.mean) / self.std


class YieldNet(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.normalize = Normalization(n)
        self.hidden1 = nn.Linear(n, 48)
        self.hidden2 = nn.Linear(48, 48)
        self.out = nn.Linear(48, 1)
        self.register_buffer("target_mean", torch.tensor(0.0))
        self.register_buffer("target_std", torch.tensor(1.0))

    def forward(self, x):
        h = nn.functional.mish(self.hidden1(self.normalize(x)))
        return self.out(nn.functional.mish(self.hidden2(h))).squeeze(-1)

    def tonnes(self, x):
        return self(x) * self.target_std + self.target_mean


def evaluate(model, x, y):
    model.eval()
    with torch.no_grad():
        e = model.tonnes(x) - y
    return Metrics(e.square().mean().sqrt().item(), 1 - (e.square().mean() / y.var()).item())


def main():
    torch.manual_seed(30)
    (xtr, ytr), (xte, yte) = field_trials(3000, 1), field_trials(800, 2)
    xtr, xte = (torch.tensor(d.to_numpy(), dtype=torch.float32) for d in (xtr, xte))
    ytr, yte = (torch.tensor(t.to_numpy(), dtype=torch.float32) for t in (ytr, yte))
    model = YieldNet(xtr.shape[1])
    model.normalize.adapt(xtr)
    model.target_mean.copy_(ytr.mean())
    model.target_std.copy_(ytr.std())
    target = (ytr - model.target_mean) / model.target_std
    loader = DataLoader(TensorDataset(xtr, target), batch_size=64, shuffle=True)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(20):
        model.train()
        for xb, tb in loader:
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(xb), tb)
            loss.backward()
            opt.step()
        if epoch % 4 == 3:
            print(epoch + 1, evaluate(model, xte, yte))
    m = evaluate(copy.deepcopy(model), xte, yte)
    print(f"test rmse {m.rmse:.3f} t/ha (noise 0.25), R2 {m.r2:.3f}")


if __name__ == "__main__":
    main()
