# fault: frozen-in-train
# note: model.train() is called once, before a first test() that switches to eval mode; train_one_epoch never switches back, so all BatchNorm layers stay in eval mode with their initial statistics during training. Accuracy 0.139 with the fault, 0.999 with model.train() in train_one_epoch.

"""Classify 8 procedural textures with a plain (skip-free) convolutional network."""
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Textures(Dataset):
    """Oriented gratings: 4 directions x 2 frequency bands, random phase, contrast and noise."""

    def __init__(self, n, size=20, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 8, (n,), generator=g)
        r = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, 1, generator=g)
        angle = (self.y % 4).view(-1, 1, 1) * math.pi / 4 + r(-0.2, 0.2)
        freq = torch.where(self.y.view(-1, 1, 1) < 4, r(0.6, 0.9), r(1.1, 1.5))
        gy, gx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        wave = torch.sin(freq * (gx * angle.cos() + gy * angle.sin()) + r(0, 2 * math.pi))
        img = r(0.5, 1.5) * wave + 0.9 * torch.randn(n, size, size, generator=g)
        self.x = (img / img.std()).unsqueeze(1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def conv_bn(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class PlainNet(nn.Module):
    def __init__(self, classes=8, width=12):
        super().__init__()
        self.features = nn.Sequential(
            conv_bn(1, width), conv_bn(width, width), conv_bn(width, 2 * width, 2),
            conv_bn(2 * width, 2 * width), conv_bn(2 * width, 2 * width), conv_bn(2 * width, 2 * width, 2),
            conv_bn(2 * width, 2 * width), conv_bn(2 * width, 2 * width),
        )
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def test(model, loader):
    model.eval()
    loss, hits = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            hits += (out.argmax(1) == y).sum().item()
    return loss / len(loader.dataset), hits / len(loader.dataset)


def train_one_epoch(model, loader, optimizer, scheduler):
    running = 0.0
    for x, y in loader:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        running += loss.item() * len(y)
    return running / len(loader.dataset)


if __name__ == "__main__":
    torch.manual_seed(42)
    train_loader = DataLoader(Textures(2400, seed=1), batch_size=48, shuffle=True)
    test_loader = DataLoader(Textures(800, seed=2), batch_size=200)
    model = PlainNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    epochs = 6
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(train_loader))

    model.train()
    print("before training: loss %.3f, accuracy %.3f" % test(model, test_loader))
    for epoch in range(epochs):
        tic = time.time()
        train_loss = train_one_epoch(model, train_loader, optimizer, scheduler)
        test_loss, acc = test(model, test_loader)
        print(f"{epoch + 1}/{epochs}  train {train_loss:.3f}  test {test_loss:.3f}  accuracy {acc:.3f}  ({time.time() - tic:.1f} s)")
    print(f"final accuracy {acc:.3f}")
