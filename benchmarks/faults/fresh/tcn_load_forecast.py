# fault: unregistered-module
# accept: parameter-not-updated
# note: The temporal blocks stand in a plain list, so neither model.parameters() nor the optimizer knows them and only the read-out learns. Validation RMSE 0.678; with nn.ModuleList 0.031.

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm


class LoadWindows(Dataset):
    """Sliding windows over one standardised series: 48 values in, the value `horizon` steps ahead out."""

    def __init__(self, series, window=48, horizon=6):
        self.series = torch.as_tensor(series, dtype=torch.float32)
        self.window, self.horizon = window, horizon

    def __len__(self):
        return len(self.series) - self.window - self.horizon

    def __getitem__(self, i):
        x = self.series[i:i + self.window]
        return x.unsqueeze(0), self.series[i + self.window + self.horizon - 1]


def mackey_glass(n, tau=17, seed=0):
    rng = np.random.default_rng(seed)
    hist = list(1.2 + 0.05 * rng.standard_normal(tau + 1))
    for _ in range(n * 3 + 300):
        x, xd = hist[-1], hist[-tau - 1]
        hist.append(x + 0.2 * xd / (1 + xd ** 10) - 0.1 * x)
    return np.array(hist[-n * 3::3])


class TemporalBlock(nn.Module):
    def __init__(self, c_in, c_out, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv1 = nn.Conv1d(c_in, c_out, 3, dilation=dilation)
        self.conv2 = nn.Conv1d(c_out, c_out, 3, dilation=dilation)
        self.skip = nn.Conv1d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.act = nn.SiLU()

    def forward(self, x):
        h = self.act(self.conv1(nn.functional.pad(x, (self.pad, 0))))
        h = self.conv2(nn.functional.pad(h, (self.pad, 0)))
        return self.act(h + self.skip(x))


class TCN(nn.Module):
    def __init__(self, channels=(12, 12, 12, 12)):
        super().__init__()
        self.levels = []
        c = 1
        for i, width in enumerate(channels):
            self.levels.append(TemporalBlock(c, width, dilation=2 ** i))
            c = width
        self.readout = nn.Linear(c, 1)

    def forward(self, x):
        for level in self.levels:
            x = level(x)
        return self.readout(x[:, :, -1]).squeeze(-1)


def rmse(model, loader):
    model.eval()
    err, n = 0.0, 0
    with torch.inference_mode():
        for x, y in loader:
            err += ((model(x) - y) ** 2).sum().item()
            n += len(y)
    model.train()
    return (err / n) ** 0.5


def run(epochs=8, lr=3e-3):
    torch.manual_seed(0)
    load = mackey_glass(3200)
    cut = 2500
    mu, sd = load[:cut].mean(), load[:cut].std()
    load = (load - mu) / sd
    train = DataLoader(LoadWindows(load[:cut]), batch_size=32, shuffle=True)
    valid = DataLoader(LoadWindows(load[cut:]), batch_size=128)
    model = TCN()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fn = nn.MSELoss()
    for epoch in range(epochs):
        for x, y in tqdm(train, desc=f"epoch {epoch}", leave=False):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: valid rmse {rmse(model, valid):.4f}")
    return rmse(model, valid)


if __name__ == "__main__":
    print(f"final validation RMSE (series std = 1): {run():.4f}")
