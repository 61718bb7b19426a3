# fault: update-too-large
# accept: loss-not-decreasing, loss-diverging
# note: AdamW at lr 4e-2 (should be 3e-3): updates are far too large against the parameters, the transformer hardly learns. Test accuracy .247, repaired .956.

"""Tiny vision transformer on the 8x8 digits (2x2 patches)."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    dim: int = 48
    heads: int = 4
    depth: int = 2
    n_classes: int = 10
    batch: int = 64
    epochs: int = 12
    lr: float = 4e-2
    weight_decay: float = 0.01
    seed: int = 1


class PatchViT(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.to_tokens = nn.Linear(4, cfg.dim)
        self.cls = nn.Parameter(torch.randn(1, 1, cfg.dim) * 0.02)
        self.pos = nn.Parameter(torch.randn(1, 17, cfg.dim) * 0.02)
        block = nn.TransformerEncoderLayer(
            cfg.dim, cfg.heads, cfg.dim * 2, dropout=0.0,
            activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(block, cfg.depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(cfg.dim)
        self.fc = nn.Linear(cfg.dim, cfg.n_classes)

    def forward(self, img):
        b = img.shape[0]
        p = img.view(b, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(b, 16, 4)
        tok = torch.cat([self.cls.expand(b, -1, -1), self.to_tokens(p)], 1) + self.pos
        return self.fc(self.norm(self.encoder(tok)[:, 0]))


def get_loaders(cfg):
    data = load_digits()
    imgs = ((data.images - data.images.mean()) / data.images.std()).astype(np.float32)
    parts = train_test_split(imgs, data.target, test_size=0.25, stratify=data.target, random_state=cfg.seed)
    xtr, xte, ytr, yte = map(torch.as_tensor, parts)
    return (DataLoader(TensorDataset(xtr, ytr), cfg.batch, shuffle=True, drop_last=True),
            DataLoader(TensorDataset(xte, yte), 256))


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def main():
    cfg = Config()
    torch.manual_seed(cfg.seed)
    train_dl, test_dl = get_loaders(cfg)
    model = PatchViT(cfg)
    opt = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
    ce = nn.CrossEntropyLoss()
    for ep in range(cfg.epochs):
        model.train()
        running = 0.0
        for x, y in train_dl:
            opt.zero_grad()
            loss = ce(model(x), y)
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"[{ep:02d}] loss {running / len(train_dl):.4f}  test acc {accuracy(model, test_dl):.4f}")
    print("final test accuracy", round(accuracy(model, test_dl), 4))


if __name__ == "__main__":
    main()
