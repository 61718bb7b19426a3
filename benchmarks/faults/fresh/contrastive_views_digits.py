# fault: none
# near: batch-mixing
# note: linear probe with 40 labels 0.769 -> 0.900. In-batch negatives couple rows in the loss only (and BatchNorm in train mode); outputs in eval mode are per sample.

"""SimCLR-style pre-training on the 8x8 digits, judged by a linear probe."""
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split


@dataclass(frozen=True)
class Opts:
    batch: int = 128
    temperature: float = 0.3
    epochs: int = 40
    lr: float = 2e-3
    dim: int = 32


class Views:
    """random affine map (shift, rotation, zoom), noise and pixel dropout, drawn for every image"""

    def __call__(self, x):
        n = len(x)
        ang, zoom = 0.25 * torch.randn(n), 1 + 0.15 * torch.randn(n)
        c, s = ang.cos() * zoom, ang.sin() * zoom
        move = 0.15 * torch.randn(n, 2)
        theta = torch.stack([torch.stack([c, -s, move[:, 0]], 1), torch.stack([s, c, move[:, 1]], 1)], 1)
        v = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), padding_mode="border", align_corners=False)
        v = v + 0.1 * torch.randn_like(v)
        return torch.where(torch.rand_like(v) < 0.15, torch.zeros_like(v), v)


class Encoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Flatten(), nn.Linear(48 * 16, 64))
        self.projector = nn.Sequential(nn.LayerNorm(64), nn.GELU(), nn.Linear(64, dim))

    def forward(self, x):
        h = self.features(x)
        return h, F.normalize(self.projector(h), dim=-1)


def info_nce(z1, z2, temperature):
    n = len(z1)
    z = torch.cat([z1, z2])
    sim = z @ z.T / temperature
    sim = sim.masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e4)
    partner = torch.arange(2 * n).roll(n)
    return F.cross_entropy(sim, partner)


def probe(enc, Xtr, ytr, Xte, yte):
    enc.eval()
    with torch.no_grad():
        htr, hte = enc(Xtr)[0], enc(Xte)[0]
    m, s = htr.mean(0), htr.std(0) + 1e-6
    clf = LogisticRegression(max_iter=500, C=0.5).fit(((htr - m) / s).numpy(), ytr)
    return clf.score(((hte - m) / s).numpy(), yte)


def main(o=Opts()):
    torch.manual_seed(15)
    d = load_digits()
    X = torch.tensor((d.images - 4.88) / 6.02, dtype=torch.float32)[:, None]
    Xtr, Xte, ytr, yte = train_test_split(X, d.target, test_size=0.3, random_state=15, stratify=d.target)
    few = train_test_split(range(len(Xtr)), train_size=40, random_state=1, stratify=ytr)[0]
    enc, view = Encoder(o.dim), Views()
    start = probe(enc, Xtr[few], ytr[few], Xte, yte)
    opt = torch.optim.AdamW(enc.parameters(), lr=o.lr, weight_decay=1e-4)
    for epoch in range(o.epochs):
        enc.train()
        total, steps = 0.0, 0
        for sel in torch.randperm(len(Xtr)).split(o.batch):
            if len(sel) < o.batch:
                continue
            x = Xtr[sel]
            loss = info_nce(enc(view(x))[1], enc(view(x))[1], o.temperature)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total, steps = total + loss.item(), steps + 1
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1} nt-xent {total / steps:.3f}")
    print(f"linear probe with 40 labels: before {start:.3f}, after {probe(enc, Xtr[few], ytr[few], Xte, yte):.3f}")


if __name__ == "__main__":
    main()
