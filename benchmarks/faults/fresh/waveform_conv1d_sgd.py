# fault: update-too-small
# accept: underfitting, loss-not-decreasing
# note: The batch's summed loss is divided by the size of the whole training set instead of the batch, so SGD moves about 60 times too slowly. Val accuracy 22.8 %, repaired 97.8 %.

import argparse
import math

import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

SHAPES = ["sine", "square", "saw", "triangle", "chirp"]


class Waveforms(Dataset):
    """Noisy signals of five shapes, random frequency and phase."""

    def __init__(self, n, length=96, seed=0):
        g = torch.Generator().manual_seed(seed)
        t = torch.linspace(0, 1, length)
        xs, ys = [], []
        for i in range(n):
            k = int(torch.randint(len(SHAPES), (1,), generator=g))
            f = 2 + 3 * torch.rand(1, generator=g)
            ph = torch.rand(1, generator=g)
            u = (f * t + ph) % 1.0
            if k == 0:
                s = torch.sin(2 * math.pi * u)
            elif k == 1:
                s = torch.sign(u - 0.5)
            elif k == 2:
                s = 2 * u - 1
            elif k == 3:
                s = 4 * (u - 0.5).abs() - 1
            else:
                s = torch.sin(2 * math.pi * (f * t + ph + 4 * t * t))
            s = s + 0.2 * torch.randn(length, generator=g)
            xs.append((s - s.mean()) / s.std())
            ys.append(k)
        self.x = torch.stack(xs).unsqueeze(1)
        self.y = torch.tensor(ys)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return {"signal": self.x[i], "label": self.y[i]}


class ConvNet1d(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, width, 7, padding=3), nn.SiLU(), nn.AvgPool1d(2),
            nn.Conv1d(width, width, 5, padding=2), nn.SiLU(), nn.AvgPool1d(2),
            nn.Conv1d(width, width, 5, padding=2), nn.SiLU(), nn.AdaptiveAvgPool1d(6), nn.Flatten())
        self.out = nn.Linear(width * 6, len(SHAPES))

    def forward(self, signal):
        return self.out(self.body(signal))


def evaluate(net, loader):
    net.eval()
    correct = 0
    with torch.no_grad():
        for batch in loader:
            correct += (net(batch["signal"]).argmax(-1) == batch["label"]).sum().item()
    return 100.0 * correct / len(loader.dataset)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--bs", type=int, default=32)
    args = parser.parse_args()

    torch.manual_seed(7)
    train_set, val_set = Waveforms(2000, seed=1), Waveforms(600, seed=2)
    train_loader = DataLoader(train_set, batch_size=args.bs, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=200)

    net = ConvNet1d()
    sgd = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9, nesterov=True)
    for epoch in range(args.epochs):
        net.train()
        epoch_loss = 0.0
        for batch in train_loader:
            logits = net(batch["signal"])
            loss_sum = F.cross_entropy(logits, batch["label"], reduction="sum")
            loss = loss_sum / len(train_set)
            sgd.zero_grad(set_to_none=True)
            loss.backward()
            sgd.step()
            epoch_loss += loss_sum.item()
        print("epoch", epoch, "train loss %.4f" % (epoch_loss / len(train_set)),
              "val acc %.1f%%" % evaluate(net, val_loader))
    print("validation accuracy: %.1f%%" % evaluate(net, val_loader))
