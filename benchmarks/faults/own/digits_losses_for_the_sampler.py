# fault: none
# near: train-mode-in-eval
# note: losses of all training examples with gradients enabled, never back-propagated
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


net = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Dropout(0.3), nn.Linear(100, 10))
opt = torch.optim.Adam(net.parameters(), 1e-3)
hist = []
for e in range(6):
    net.train()
    perm = torch.randperm(1400)
    for s in range(0, 1400, 100):
        i = perm[s : s + 100]
        l = F.cross_entropy(net(Xtr[i]), ytr[i], reduction="none")
        k = l.detach().topk(50).indices
        loss = F.cross_entropy(net(Xtr[i][k]), ytr[i][k])
        opt.zero_grad()
        loss.backward()
        opt.step()
    # losses of all training samples, for the sampler of the next epoch
    net_losses = torch.cat(
        [
            F.cross_entropy(net(Xtr[s : s + 100]), ytr[s : s + 100], reduction="none").detach()
            for s in range(0, 1400, 100)
        ]
    )
    # training accuracy, train mode
    print(e, acc(net), net_losses.mean().item())
