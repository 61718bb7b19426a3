# fault: update-too-small
# accept: lr-zero, loss-not-decreasing, underfitting
# note: Noam schedule with warm-up of 50,000 steps in a 420-step run: lr below 3e-6, loss 2.37 -> 2.34; warm-up 100
# gives 98 %.
"""Digits as a sequence of 8 rows, classified by a transformer trained with the 'Attention is all you need' schedule."""
from types import SimpleNamespace

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

CFG = SimpleNamespace(d_model=64, nhead=4, layers=2, ff=128, batch=48, epochs=14, factor=0.5, warmup=50000, seed=17)


class RowTransformer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.inp = nn.Linear(8, c.d_model)
        self.pos = nn.Embedding(8, c.d_model)
        enc = nn.TransformerEncoderLayer(c.d_model, c.nhead, c.ff, dropout=0.1, batch_first=True)
        self.enc = nn.TransformerEncoder(enc, c.layers)
        self.cls = nn.Linear(c.d_model, 10)

    def forward(self, rows):
        h = self.inp(rows) + self.pos(torch.arange(8))
        return self.cls(self.enc(h).mean(1))


def noam(step, c=CFG):
    step += 1
    return c.factor * c.d_model ** -0.5 * min(step ** -0.5, step * c.warmup ** -1.5)


def build_loaders():
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32).view(-1, 8, 8) / 8 - 1
    y = torch.tensor(y)
    perm = torch.randperm(len(X))
    tr, te = perm[:1400], perm[1400:]
    return (DataLoader(TensorDataset(X[tr], y[tr]), CFG.batch, shuffle=True),
            DataLoader(TensorDataset(X[te], y[te]), 200))


def main():
    torch.manual_seed(CFG.seed)
    train_loader, test_loader = build_loaders()
    model = RowTransformer(CFG)
    opt = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    sched = LambdaLR(opt, noam)
    ce = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(CFG.epochs):
        model.train()
        seen = total = 0
        for rows, target in train_loader:
            loss = ce(model(rows), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total += loss.item() * len(target)
            seen += len(target)
        model.eval()
        with torch.no_grad():
            ok = sum((model(r).argmax(-1) == t).sum().item() for r, t in test_loader)
        print(f"epoch {epoch:2d}  loss {total / seen:.4f}  acc {ok / 397:.3f}")


if __name__ == "__main__":
    main()
