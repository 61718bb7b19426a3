# fault: none
# near: train-mode-in-eval
# note: Explained variance 0.989. Dropout layers are switched on for the stochastic forecast only (Monte-Carlo dropout, there is no BatchNorm); the point forecast uses eval mode.

"""Regression with error bars: dropout stays on at prediction time (Gal & Ghahramani 2016).

The point forecast is made the ordinary way; the spread comes from 50 stochastic passes.
"""
import math

import numpy as np
import torch
from torch import nn


def tide(n, rng):
    """Water level from moon phase, solar time, wind (two components) and pressure anomaly."""
    moon, sun = rng.uniform(0, 2 * math.pi, n), rng.uniform(0, 2 * math.pi, n)
    wind = rng.standard_normal((n, 2))
    press = rng.standard_normal(n)
    level = 1.2 * np.sin(moon) + 0.5 * np.sin(sun) + 0.35 * wind[:, 0] * np.cos(moon) - 0.3 * press
    level += 0.1 * rng.standard_normal(n)
    x = np.column_stack([np.sin(moon), np.cos(moon), np.sin(sun), np.cos(sun), wind, press])
    return torch.tensor(x, dtype=torch.float32), torch.tensor(level, dtype=torch.float32)[:, None]


def make_net(p=0.05, width=128):
    return nn.Sequential(
        nn.Linear(7, width), nn.ReLU(), nn.Dropout(p),
        nn.Linear(width, width), nn.ReLU(), nn.Dropout(p),
        nn.Linear(width, 1),
    )


@torch.no_grad()
def point_forecast(net, x):
    net.eval()
    return net(x)


@torch.no_grad()
def stochastic_forecast(net, x, passes=50):
    net.eval()
    for layer in net:
        if isinstance(layer, nn.Dropout):
            layer.train()
    draws = torch.stack([net(x) for _ in range(passes)])
    net.eval()
    return draws.mean(0), draws.std(0)


rng = np.random.default_rng(4)
torch.manual_seed(4)
x_train, y_train = tide(4000, rng)
x_val, y_val = tide(800, rng)
y_mean, y_std = y_train.mean(), y_train.std()
y_train, y_val = (y_train - y_mean) / y_std, (y_val - y_mean) / y_std

net = make_net()
opt = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-6)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=30)
for epoch in range(30):
    net.train()
    perm = torch.randperm(len(x_train))
    for idx in perm.split(64):
        loss = nn.functional.mse_loss(net(x_train[idx]), y_train[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    sched.step()
    if (epoch + 1) % 5 == 0:
        point = point_forecast(net, x_val)
        mean, spread = stochastic_forecast(net, x_val)
        rmse = (point - y_val).square().mean().sqrt()
        print(f"epoch {epoch + 1:2d}  rmse {rmse:.3f}  rmse of the mean draw {(mean - y_val).square().mean().sqrt():.3f}  "
              f"typical spread {spread.mean():.3f}")

residual = (y_val - point_forecast(net, x_val)).square().mean()
print(f"explained variance on unseen days: {1 - residual / y_val.var():.3f}")
