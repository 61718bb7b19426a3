# fault: update-too-large
# accept: loss-diverging
# note: the refresh phase runs AdamW at lr 0.1 (base phase 2e-3; meant 1e-3): the first steps destroy the production weights. R2 0.00 on upcoming weeks; lr 1e-3 0.949.

"""Refresh of the demand model: start from the production weights, adapt to the last weeks."""
import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

rng = np.random.default_rng(12)
torch.manual_seed(12)
N_STORES, N_FEAT = 30, 9


@dataclass
class Phase:
    name: str
    lr: float
    epochs: int
    weight_decay: float = 1e-4


BASE = Phase("base", lr=2e-3, epochs=12)
REFRESH = Phase("refresh", lr=1e-1, epochs=10)


def week_rows(n, drift):
    store = rng.integers(0, N_STORES, n)
    x = rng.normal(size=(n, N_FEAT))
    eff = np.sin(np.arange(N_STORES) * 1.7)[store]
    y = eff + 0.8 * x[:, 0] * eff + np.tanh(x[:, 1] + drift * x[:, 2]) + 0.5 * np.abs(x[:, 3]) + (0.4 + drift) * x[:, 4]
    y += 0.2 * rng.normal(size=n)
    return torch.tensor(store), torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


class DemandNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.store = nn.Embedding(N_STORES, 6)
        self.norm = nn.LayerNorm(N_FEAT + 6)
        self.fc = nn.Sequential(nn.Linear(N_FEAT + 6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(),
                                nn.Linear(64, 1))

    def forward(self, store, x):
        return self.fc(self.norm(torch.cat([self.store(store), x], -1))).squeeze(-1)


def fit(net, rows, phase, stats):
    mu, sd = stats
    store, x, y = rows
    opt = torch.optim.AdamW(net.parameters(), lr=phase.lr, weight_decay=phase.weight_decay)
    for epoch in range(phase.epochs):
        net.train()
        total = 0.0
        for b in torch.randperm(len(y)).split(64):
            loss = F.mse_loss(net(store[b], x[b]), (y[b] - mu) / sd)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(b)
        print(f"{phase.name:8s} {epoch:2d} mse {total / len(y):.4f}")
    return net


@torch.no_grad()
def r2(net, rows, stats):
    net.eval()
    store, x, y = rows
    y = (y - stats[0]) / stats[1]
    return (1 - F.mse_loss(net(store, x), y) / y.var()).item()


history = week_rows(5000, drift=0.0)
recent, upcoming = week_rows(1500, drift=0.6), week_rows(1000, drift=0.6)
stats = history[2].mean(), history[2].std()

production = fit(DemandNet(), history, BASE, stats)
print("production model on upcoming weeks: R2 %.3f" % r2(production, upcoming, stats))
candidate = fit(copy.deepcopy(production), recent, REFRESH, stats)
print("refreshed model on upcoming weeks: R2 %.3f" % r2(candidate, upcoming, stats))
