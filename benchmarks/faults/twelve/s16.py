# fault: none
# near: nan-or-inf
# note: fp16 autocast with GradScaler whose first steps are skipped while the scale is found; auxiliary head
# deliberately unused; 95 %.
"""Half-precision training of a small CNN with an auxiliary branch that can be switched on by a flag."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.amp import GradScaler, autocast


class InceptionLite(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.mid = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.top = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(32 * 16, n_classes)
        self.aux_fc = nn.Linear(16, n_classes)

    def forward(self, x, with_aux=False):
        x = self.stem(x)
        aux = self.aux_fc(x.mean((2, 3))) if with_aux else None
        x = self.top(self.mid(x))
        return self.fc(x.flatten(1)), aux


def main(args):
    torch.manual_seed(args.seed)
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 8, 8) / 16 - 0.3
    y = torch.tensor(y)
    perm = torch.randperm(len(X))
    Xtr, ytr, Xva, yva = X[perm[:1400]], y[perm[:1400]], X[perm[1400:]], y[perm[1400:]]

    model = InceptionLite()
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr)
    scaler = GradScaler("cpu", init_scale=args.init_scale, growth_interval=100)
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for idx in torch.randperm(len(Xtr)).split(args.batch):
            opt.zero_grad(set_to_none=True)
            with autocast("cpu", dtype=torch.float16):
                logits, aux = model(Xtr[idx], with_aux=args.aux > 0)
                loss = F.cross_entropy(logits, ytr[idx])
                if aux is not None:
                    loss = loss + args.aux * F.cross_entropy(aux, ytr[idx])
            scaler.scale(loss).backward()
            scaler.unscale_(opt)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            scaler.step(opt)
            scaler.update()
            total += loss.item() * len(idx)
        model.eval()
        with torch.no_grad(), autocast("cpu", dtype=torch.float16):
            acc = (model(Xva)[0].argmax(1) == yva).float().mean().item()
        print(f"epoch {epoch:2d} loss {total / len(Xtr):.4f} acc {acc:.3f} scale {scaler.get_scale():g}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--batch", type=int, default=40)
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--aux", type=float, default=0.0)
    ap.add_argument("--init-scale", type=float, default=2.0 ** 22)
    ap.add_argument("--seed", type=int, default=0)
    main(ap.parse_args())
