# fault: none
# near: data-not-shuffled
# note: held-out mse 0.031 of persistence. Stateful truncated BPTT over 16 parallel tracks in time order (no shuffling by design), state detached between pieces.

"""One-step-ahead forecast of a tide gauge: stateful LSTM, truncated back-propagation through time."""
import numpy as np
import torch
from torch import nn


def gauge(n, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    tide = 1.0 * np.sin(2 * np.pi * t / 12.42) + 0.4 * np.sin(2 * np.pi * t / 12.0 + 1) + 0.3 * np.sin(2 * np.pi * t / 25.8)
    surge = np.zeros(n)
    for i in range(2, n):
        surge[i] = 1.6 * surge[i - 1] - 0.68 * surge[i - 2] + 0.06 * rng.normal()
    return tide + surge


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        h, state = self.lstm(x, state)
        return x + self.head(h), state


def windows(track, tbptt):
    """consecutive pieces of the parallel tracks, in time order"""
    for k in range(0, track.shape[1] - 1, tbptt):
        piece = track[:, k:k + tbptt + 1]
        if piece.shape[1] > 1:
            yield piece[:, :-1, None], piece[:, 1:, None]


def repackage(state):
    return tuple(s.detach() for s in state)


def main():
    torch.manual_seed(41)
    series = gauge(9000, 41).astype(np.float32)
    split = 8000
    mean, std = series[:split].mean(), series[:split].std()
    series = (series - mean) / std
    tracks = torch.from_numpy(series[:split].reshape(16, -1).copy())
    held_out = torch.from_numpy(series[split:].copy())[None]

    model = Forecaster()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=30)
    mse = nn.MSELoss()
    naive = mse(held_out[:, :-1], held_out[:, 1:]).item()
    for epoch in range(30):
        model.train()
        state, total, pieces = None, 0.0, 0
        for x, y in windows(tracks, 25):
            if state is not None:
                state = repackage(state)
            out, state = model(x, state)
            loss = mse(out, y)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += loss.item()
            pieces += 1
        sched.step()
        model.eval()
        with torch.no_grad():
            pred, _ = model(held_out[:, :-1, None])
            test = mse(pred[:, 100:], held_out[:, 101:, None]).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train {total / pieces:.5f} held-out {test:.5f} (persistence {naive:.5f})")
    print(f"held-out mse relative to persistence: {test / naive:.3f}")


if __name__ == "__main__":
    main()
