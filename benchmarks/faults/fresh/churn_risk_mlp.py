# fault: class-imbalance-collapse
# note: 2.5 % positives, unweighted loss and a threshold of 0.5: the model says 'stays' for almost everyone (accuracy 0.973, churners found 0.00-0.04). Balanced accuracy 0.518 with the fault, 0.747 with pos_weight=39.

"""Churn model for a telecom table: who is going to leave next quarter?"""
import csv
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def customers(n, seed, rate=0.025):
    g = torch.Generator().manual_seed(seed)
    left = (torch.rand(n, generator=g) < rate).float()
    x = torch.randn(n, 10, generator=g)
    direction = torch.tensor([1, -1, 1, 1, -1, 0, 0, 0, 0, 0.]) / 5 ** 0.5
    return x + 1.4 * left[:, None] * direction, left


class ChurnRisk(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)

    def will_leave(self, x):
        return torch.sigmoid(self(x)) > 0.5


def confusion(model, loader):
    model.eval()
    tp = fp = fn = tn = 0
    with torch.no_grad():
        for x, y in loader:
            p, y = model.will_leave(x), y.bool()
            tp += (p & y).sum().item()
            fp += (p & ~y).sum().item()
            fn += (~p & y).sum().item()
            tn += (~p & ~y).sum().item()
    return tp, fp, fn, tn


def main():
    torch.manual_seed(5)
    x, y = customers(8000, 1)
    mean, std = x.mean(0), x.std(0)
    xv, yv = customers(4000, 2)
    train = DataLoader(TensorDataset((x - mean) / std, y), batch_size=128, shuffle=True)
    valid = DataLoader(TensorDataset((xv - mean) / std, yv), batch_size=500)
    model = ChurnRisk()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    table = csv.writer(sys.stdout)
    table.writerow(["epoch", "loss", "accuracy", "churners_found"])
    for epoch in range(10):
        model.train()
        total = 0.0
        for xb, yb in train:
            loss = F.binary_cross_entropy_with_logits(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        tp, fp, fn, tn = confusion(model, valid)
        table.writerow([epoch, f"{total / len(train):.4f}", f"{(tp + tn) / len(xv):.4f}", f"{tp / (tp + fn):.3f}"])
    print(f"balanced accuracy {0.5 * (tp / (tp + fn) + tn / (tn + fp)):.3f}")


if __name__ == "__main__":
    main()
