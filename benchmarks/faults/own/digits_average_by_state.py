# fault: none
# near: save-load-mismatch
# note: the state of the average is changed in place and then loaded; the average follows
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


def net():
    return nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))


m = net()
ema = copy.deepcopy(m)
opt = torch.optim.Adam(m.parameters(), 1e-3)
for e in range(5):
    m.train()
    for s in range(0, 1400, 50):
        loss = F.cross_entropy(m(Xtr[s : s + 50]), ytr[s : s + 50])
        opt.zero_grad()
        loss.backward()
        opt.step()
    a, b = ema.state_dict(), m.state_dict()
    with torch.no_grad():
        for k in a:
            if a[k].dtype.is_floating_point:
                a[k].mul_(0.5).add_(b[k], alpha=0.5)
            else:
                a[k].copy_(b[k])
    ema.load_state_dict(a)
    print(acc(ema), acc(m))
