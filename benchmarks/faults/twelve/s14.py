# fault: saturated-units
# accept: input-not-normalized, vanishing-gradient, loss-not-decreasing
# note: Raw 12-bit ADC counts drive a hand-written GRU: every gate and candidate pinned, zero gradient below the head,
# accuracy 25 %; standardised input gives 99 %.
"""Classify noisy 12-bit ADC traces (sine / square / saw / chirp) with a recurrent net."""
import math
from dataclasses import dataclass, field
from typing import List

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Hparams:
    n_train: int = 1920
    n_test: int = 600
    length: int = 40
    hidden: int = 48
    lr: float = 2e-3
    epochs: int = 8
    batch: int = 48
    log: List[float] = field(default_factory=list)


class Waves(Dataset):
    def __init__(self, n, length, seed):
        g = torch.Generator().manual_seed(seed)
        t = torch.linspace(0, 1, length)
        self.x, self.y = [], []
        for i in range(n):
            k = i % 4
            f = 2 + 3 * torch.rand(1, generator=g)
            phase = torch.rand(1, generator=g)
            ph = f * t + phase
            if k == 0:
                w = torch.sin(2 * math.pi * ph)
            elif k == 1:
                w = torch.sign(torch.sin(2 * math.pi * ph))
            elif k == 2:
                w = 2 * (ph % 1) - 1
            else:
                w = torch.sin(2 * math.pi * (f * t * (1 + t) + phase))
            w = w + 0.15 * torch.randn(length, generator=g)
            counts = torch.round(2048 + 700 * w)
            self.x.append(counts[:, None])
            self.y.append(k)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class GRUCell(nn.Module):
    def __init__(self, n_in, hidden):
        super().__init__()
        self.x2h = nn.Linear(n_in, 3 * hidden)
        self.h2h = nn.Linear(hidden, 3 * hidden)
        nn.init.xavier_uniform_(self.x2h.weight)
        nn.init.orthogonal_(self.h2h.weight)

    def forward(self, x, h):
        xr, xz, xn = self.x2h(x).chunk(3, -1)
        hr, hz, hn = self.h2h(h).chunk(3, -1)
        r = torch.sigmoid(xr + hr)
        z = torch.sigmoid(xz + hz)
        n = torch.tanh(xn + r * hn)
        return (1 - z) * n + z * h


class WaveNet(nn.Module):
    def __init__(self, hp: Hparams):
        super().__init__()
        self.lift = nn.Linear(1, 16)
        self.core = GRUCell(16, hp.hidden)
        self.head = nn.Linear(hp.hidden, 4)
        self.hidden = hp.hidden

    def forward(self, x):
        h = x.new_zeros(len(x), self.hidden)
        states = []
        for v in self.lift(x).unbind(1):
            h = self.core(v, h)
            states.append(h)
        return self.head(torch.stack(states, 1).mean(1))


def run(hp: Hparams):
    torch.manual_seed(21)
    train = DataLoader(Waves(hp.n_train, hp.length, 0), batch_size=hp.batch, shuffle=True)
    test = DataLoader(Waves(hp.n_test, hp.length, 1), batch_size=200)
    net = WaveNet(hp)
    optimiser = torch.optim.Adam(net.parameters(), lr=hp.lr)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(hp.epochs):
        net.train()
        for xb, yb in train:
            optimiser.zero_grad()
            loss = criterion(net(xb), yb)
            loss.backward()
            optimiser.step()
            hp.log.append(loss.item())
        net.eval()
        with torch.inference_mode():
            acc = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in test) / hp.n_test
        recent = hp.log[-len(train):]
        print(f"epoch {epoch}: loss {sum(recent) / len(recent):.4f}, test accuracy {acc:.3f}")


if __name__ == "__main__":
    run(Hparams())
