# fault: gradients-discarded
# note: Gradients are meant to accumulate over 8 micro-batches, but zero_grad() stands at the top of every micro-batch, so each step uses only the last one (at 1/8 weight). Test accuracy 0.774 with the fault, 1.000 with zero_grad moved behind the step.

"""Keyword spotting on synthetic chirp "words" with a small 1-D conv net.

Micro-batches are tiny (edge GPU habits), so gradients are accumulated.
"""
import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS = ["up", "down", "bump", "dip", "flat"]


def synth(n, gen):
    t = torch.linspace(0, 1, 128)
    y = torch.randint(len(WORDS), (n,), generator=gen)
    f0 = 6 + 4 * torch.rand(n, 1, generator=gen)
    sweep = 6 + 2 * torch.rand(n, 1, generator=gen)
    shapes = torch.stack([t, -t, torch.sin(math.pi * t), -torch.sin(math.pi * t), torch.zeros_like(t)])
    freq = f0 + 6 + sweep * shapes[y]
    phase = 2 * math.pi * torch.cumsum(freq, 1) / 128 + 6.28 * torch.rand(n, 1, generator=gen)
    x = torch.sin(phase) + 0.3 * torch.randn(n, 128, generator=gen)
    return x.unsqueeze(1) / 0.77, y


class Spotter(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.c1 = nn.Conv1d(1, width, 9, stride=2, padding=4)
        self.c2 = nn.Conv1d(width, width, 7, stride=2, padding=3)
        self.c3 = nn.Conv1d(width, width, 5, stride=2, padding=2)
        self.head = nn.Linear(width * 4, len(WORDS))

    def forward(self, x):
        x = F.relu(self.c1(x))
        x = F.relu(self.c2(x))
        x = F.relu(self.c3(x))
        return self.head(F.adaptive_avg_pool1d(x, 4).flatten(1))


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    hit = tot = 0
    for x, y in loader:
        hit += (model(x).argmax(1) == y).sum().item()
        tot += len(y)
    return hit / tot


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=6)
    ap.add_argument("--micro", type=int, default=4)
    ap.add_argument("--accum", type=int, default=8)
    ap.add_argument("--lr", type=float, default=0.02)
    args = ap.parse_args()

    torch.manual_seed(3)
    gen = torch.Generator().manual_seed(11)
    train = TensorDataset(*synth(1600, gen))
    test = TensorDataset(*synth(500, gen))
    loader = DataLoader(train, batch_size=args.micro, shuffle=True)
    test_loader = DataLoader(test, batch_size=250)

    model = Spotter()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)

    for epoch in range(args.epochs):
        model.train()
        running = 0.0
        for i, (x, y) in enumerate(loader):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y) / args.accum
            loss.backward()
            running += loss.item() * args.accum
            if (i + 1) % args.accum == 0:
                optimizer.step()
        print(f"epoch {epoch + 1}: train loss {running / len(loader):.3f}  test acc {accuracy(model, test_loader):.3f}")
    print(f"final test accuracy {accuracy(model, test_loader):.3f}")


if __name__ == "__main__":
    main()
