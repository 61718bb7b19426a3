# fault: train-mode-in-eval
# note: no eval() and no no_grad(): batch normalisation takes in the test data
# ruff: noqa
import copy, io, torch, torch.nn as nn, torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
torch.set_num_threads(1)
X, y = load_digits(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32) / 16
y = torch.tensor(y)
perm = torch.randperm(len(X))
X, y = X[perm], y[perm]
Xtr, ytr, Xte, yte = X[:1400], y[:1400], X[1400:], y[1400:]


def loop(model, epochs=5, lr=1e-3, bs=50):
    opt = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    for e in range(epochs):
        model.train()
        for s in range(0, 1400, bs):
            loss = F.cross_entropy(model(Xtr[s : s + bs]), ytr[s : s + bs])
            opt.zero_grad()
            loss.backward()
            opt.step()


def acc(model):
    model.eval()
    with torch.no_grad():
        return (model(Xte).argmax(1) == yte).float().mean().item()


from torch.utils.data import DataLoader, TensorDataset


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.f = nn.Linear(256, 10)

    def forward(self, x):
        return self.f(self.c(x.view(-1, 1, 8, 8)).flatten(1))


def accuracy(net, loader):
    c = n = 0
    for x, y in loader:
        c += (net(x).argmax(-1) == y).sum().item()
        n += len(y)
    return c / n


def main():
    net = CNN()
    opt = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    tr = DataLoader(TensorDataset(Xtr, ytr), 64, shuffle=True)
    te = DataLoader(TensorDataset(Xte, yte), 64)
    for e in range(6):
        for x, y in tr:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(e, accuracy(net, te))


main()
