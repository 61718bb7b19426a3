# fault: input-not-normalized
# note: The inputs are left in SI units (1e5 Pa beside 1e-5 m); only the target is standardised. R2 on unseen rows -289 with the fault, 0.993 with standardised inputs.

"""Predict the isentropic efficiency of a compressor stage from its process data.

Columns come straight from the historian, in SI units.
"""
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

FEATURES = ["p_in_pa", "t_in_k", "mass_flow_kg_s", "speed_rpm", "vane_rad", "vibration_m"]
TARGET = "efficiency_pct"


def load_history(rows=3500, seed=12):
    """Stand-in for the database export."""
    r = np.random.default_rng(seed)
    f = pd.DataFrame({
        "p_in_pa": r.normal(101_300, 2_500, rows),
        "t_in_k": r.normal(293, 9, rows),
        "mass_flow_kg_s": r.uniform(8, 16, rows),
        "speed_rpm": r.uniform(9_000, 14_500, rows),
        "vane_rad": r.uniform(-0.35, 0.35, rows),
        "vibration_m": r.gamma(3.0, 4e-6, rows),
    })
    flow = f.mass_flow_kg_s * np.sqrt(f.t_in_k / 288) / (f.p_in_pa / 101_325) / 12
    speed = f.speed_rpm / np.sqrt(f.t_in_k / 288) / 12_000
    off = flow - speed - 0.5 * f.vane_rad
    f[TARGET] = 86 - 38 * off ** 2 - 9 * (speed - 1) ** 2 - 5e4 * f.vibration_m + r.normal(0, 0.25, rows)
    return f


class HistoryDataset(Dataset):
    def __init__(self, frame, stats):
        x = frame[FEATURES].to_numpy(np.float32)
        y = (frame[TARGET].to_numpy(np.float32) - stats["mean"][TARGET]) / stats["std"][TARGET]
        self.x = torch.tensor(x)
        self.y = torch.tensor(y, dtype=torch.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Regressor(torch.nn.Module):
    def __init__(self, n_features, hidden=64):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(n_features, hidden), torch.nn.SiLU(),
            torch.nn.Linear(hidden, hidden), torch.nn.SiLU(),
            torch.nn.Linear(hidden, 1),
        )

    def forward(self, x):
        return self.net(x)[:, 0]


def r2(model, loader):
    model.eval()
    pred, true = [], []
    with torch.no_grad():
        for x, y in loader:
            pred.append(model(x))
            true.append(y)
    pred, true = torch.cat(pred), torch.cat(true)
    return 1 - ((pred - true) ** 2).sum().item() / ((true - true.mean()) ** 2).sum().item()


def main():
    torch.manual_seed(0)
    frame = load_history()
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    train_frame, test_frame = frame.iloc[:2800], frame.iloc[2800:]
    stats = {"mean": train_frame.mean(), "std": train_frame.std()}
    train = DataLoader(HistoryDataset(train_frame, stats), batch_size=64, shuffle=True)
    test = DataLoader(HistoryDataset(test_frame, stats), batch_size=350)

    model = Regressor(len(FEATURES))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=15, gamma=0.3)
    for epoch in range(30):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss = torch.nn.functional.huber_loss(model(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
        if (epoch + 1) % 5 == 0:
            print(f"epoch {epoch + 1}: R2 train {r2(model, train):.3f}, test {r2(model, test):.3f}")
    print(f"R2 on unseen rows: {r2(model, test):.3f}")


if __name__ == "__main__":
    main()
