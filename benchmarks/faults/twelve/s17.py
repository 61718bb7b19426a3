# fault: vanishing-gradient
# accept: loss-not-decreasing
# note: 30 recurrent refinement steps through a default-initialised tanh RNNCell: encoder gradients about 1e-8 against
# 0.1 at the readout, accuracy 10 %; orthogonal weight_hh gives 97 %.
import argparse
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


@dataclass
class Config:
    hidden: int = 64
    ponder_steps: int = 30
    batch_size: int = 64
    epochs: int = 25
    lr: float = 1e-3
    seed: int = 3


class PonderNet(nn.Module):
    """Encode an image into a hidden state, refine it recurrently, read out a class."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.encoder = nn.Sequential(nn.Linear(64, cfg.hidden), nn.Tanh(), nn.Linear(cfg.hidden, cfg.hidden), nn.Tanh())
        self.step_emb = nn.Embedding(cfg.ponder_steps, 16)
        nn.init.normal_(self.step_emb.weight, std=0.02)
        self.cell = nn.RNNCell(16, cfg.hidden)
        self.readout = nn.Linear(cfg.hidden, 10)

    def forward(self, x):
        h = self.encoder(x)
        for t in range(self.cfg.ponder_steps):
            tok = self.step_emb.weight[t].expand(len(x), -1)
            h = self.cell(tok, h)
        return self.readout(h)


class Trainer:
    def __init__(self, cfg: Config):
        torch.manual_seed(cfg.seed)
        self.cfg = cfg
        X, y = load_digits(return_X_y=True)
        Xtr, Xte, ytr, yte = train_test_split(X / 16.0, y, test_size=0.25, random_state=cfg.seed, stratify=y)
        mu, sd = Xtr.mean(0), Xtr.std(0) + 0.1
        self.Xtr = torch.as_tensor((Xtr - mu) / sd, dtype=torch.float32)
        self.Xte = torch.as_tensor((Xte - mu) / sd, dtype=torch.float32)
        self.ytr, self.yte = torch.as_tensor(ytr), torch.as_tensor(yte)
        self.model = PonderNet(cfg)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=cfg.lr)
        self.loss_fn = nn.CrossEntropyLoss()

    def train_epoch(self):
        self.model.train()
        total = 0.0
        for idx in torch.randperm(len(self.Xtr)).split(self.cfg.batch_size):
            loss = self.loss_fn(self.model(self.Xtr[idx]), self.ytr[idx])
            self.opt.zero_grad(set_to_none=True)
            loss.backward()
            self.opt.step()
            total += loss.item() * len(idx)
        return total / len(self.Xtr)

    @torch.no_grad()
    def test(self):
        self.model.eval()
        return (self.model(self.Xte).argmax(-1) == self.yte).float().mean().item()

    def fit(self):
        for ep in range(self.cfg.epochs):
            tr = self.train_epoch()
            print(f"[{ep:02d}] loss={tr:.4f} acc={self.test():.3f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=Config.epochs)
    p.add_argument("--lr", type=float, default=Config.lr)
    args = p.parse_args()
    Trainer(Config(epochs=args.epochs, lr=args.lr)).fit()
