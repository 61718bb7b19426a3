# fault: gradients-not-cleared
# note: no optimizer.zero_grad() anywhere, gradients pile up over all steps; final val mse 0.94 and erratic, with zero_grad 0.030 (persistence 0.238).

import argparse
import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

p = argparse.ArgumentParser()
p.add_argument("--window", type=int, default=24)
p.add_argument("--hidden", type=int, default=32)
p.add_argument("--epochs", type=int, default=8)
p.add_argument("--lr", type=float, default=5e-3)
args = p.parse_args()

torch.manual_seed(0)


def load_sensor(n=2600):
    t = torch.arange(n, dtype=torch.float32)
    s = torch.sin(2 * math.pi * t / 24) + 0.6 * torch.sin(2 * math.pi * t / 7.3 + 1.0)
    s = s + 0.3 * torch.sin(2 * math.pi * t / 51) + 0.1 * torch.randn(n)
    return s


series = load_sensor()
cut = 2000
mu, sd = series[:cut].mean(), series[:cut].std()
series = (series - mu) / sd


def windows(s):
    w = s.unfold(0, args.window + 1, 1)
    return w[:, :-1].unsqueeze(-1).contiguous(), w[:, -1:].contiguous()


train_ds = TensorDataset(*windows(series[:cut]))
val_x, val_y = windows(series[cut:])
loader = DataLoader(train_ds, batch_size=64, shuffle=True, drop_last=True)


class Forecaster(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.gru(x)
        return self.out(h[:, -1])


model = Forecaster(args.hidden)
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
criterion = nn.MSELoss()

for epoch in range(args.epochs):
    model.train()
    running = 0.0
    for xb, yb in loader:
        pred = model(xb)
        loss = criterion(pred, yb)
        loss.backward()
        optimizer.step()
        running += loss.item()
    model.eval()
    with torch.no_grad():
        val = criterion(model(val_x), val_y).item()
    print(f"epoch {epoch:2d}  train mse {running / len(loader):.4f}  val mse {val:.4f}")

print(f"final val mse {val:.4f} (persistence {criterion(val_x[:, -1], val_y).item():.4f})")
