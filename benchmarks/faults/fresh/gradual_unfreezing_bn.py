# fault: none
# near: frozen-in-train
# note: target accuracy 0.994. BatchNorm body stays in eval mode while its parameters are frozen too (stage 1), then all is unfrozen and in train mode with a new optimizer.

"""Transfer in two stages: new head on a fixed body (BatchNorm statistics kept), then everything at a small rate."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def body():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten())


class Net(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.body, self.head, self.body_frozen = body(), nn.Linear(32 * 4, n), False

    def freeze_body(self, flag):
        self.body_frozen = flag
        for p in self.body.parameters():
            p.requires_grad_(not flag)
        return self.train()

    def train(self, mode=True):
        super().train(mode)
        if self.body_frozen:
            self.body.eval()
        return self

    def forward(self, x):
        return self.head(self.body(x))


def data(which, seed=0):
    d = load_digits()
    keep = [i for i, t in enumerate(d.target) if t in which]
    x = torch.tensor((d.images[keep] - 4.88) / 6.02, dtype=torch.float32)[:, None]
    y = torch.tensor([which.index(t) for t in d.target[keep]])
    xtr, xte, ytr, yte = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=y)
    return DataLoader(TensorDataset(xtr, ytr), batch_size=32, shuffle=True, drop_last=True), DataLoader(TensorDataset(xte, yte), batch_size=128)


def accuracy(net, dl):
    was = net.training
    net.eval()
    with torch.no_grad():
        ok = sum((net(x).argmax(1) == y).sum().item() for x, y in dl)
    net.train(was)
    return ok / len(dl.dataset)


def stage(net, dls, lr, epochs, label):
    opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=lr, weight_decay=1e-3)
    net.train()
    for e in range(epochs):
        s = 0.0
        for x, y in dls[0]:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            s += loss.item()
        print(f"{label} {e + 1}/{epochs} loss {s / len(dls[0]):.4f} acc {accuracy(net, dls[1]):.3f}")


torch.manual_seed(10)
source = Net(6)
stage(source, data([0, 1, 2, 3, 4, 5]), 3e-3, 6, "source")

target = Net(4)
target.body.load_state_dict(source.body.state_dict())
dls = data([6, 7, 8, 9])
target.freeze_body(True)
stage(target, dls, 5e-3, 6, "head only")
target.freeze_body(False)
stage(target, dls, 5e-4, 5, "all layers")
print("target accuracy %.3f" % accuracy(target, dls[1]))
