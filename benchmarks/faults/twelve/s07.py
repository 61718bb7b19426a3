# fault: loss-not-decreasing
# accept: label-noise, labels-misaligned, constant-output, underfitting
# note: The target is the next shock (white noise), not the next value: MSE stays at the variance 1.0; targets x[:,
# 1:] reach R2 0.88.
"""One-step-ahead forecasting of an AR(2) process with an LSTM; windows are generated on the fly."""
import numpy as np
import torch
import torch.nn as nn

seed = 77
torch.manual_seed(seed)
rng = np.random.default_rng(seed)

PHI = (1.5, -0.75)
BURN, LEN = 50, 48


def ar2(n_series):
    shocks = rng.standard_normal((n_series, BURN + LEN + 1))
    x = np.zeros_like(shocks)
    for t in range(2, x.shape[1]):
        x[:, t] = PHI[0] * x[:, t - 1] + PHI[1] * x[:, t - 2] + shocks[:, t]
    return x[:, BURN:], shocks[:, BURN:]


def make_batch(n):
    x, e = ar2(n)
    scale = 3.2
    inputs = torch.tensor(x[:, :-1, None] / scale, dtype=torch.float32)
    targets = torch.tensor(e[:, 1:, None], dtype=torch.float32)
    return inputs, targets


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.proj = nn.Linear(hidden, 1)

    def forward(self, series):
        out, _ = self.lstm(series)
        return self.proj(out)


model = Forecaster()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=600, eta_min=3e-4)
criterion = nn.MSELoss()

val_in, val_out = make_batch(300)
print("variance of the target:", val_out.var().item())

window = []
for step in range(600):
    xb, yb = make_batch(64)
    pred = model(xb)
    loss = criterion(pred, yb)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    scheduler.step()
    window.append(loss.item())
    if (step + 1) % 50 == 0:
        model.eval()
        with torch.no_grad():
            v = criterion(model(val_in), val_out).item()
        model.train()
        print(f"step {step + 1}: train {np.mean(window):.4f} val {v:.4f} val R2 {1 - v / val_out.var().item():.3f}")
        window = []
