# fault: none
# near: train-mode-in-eval
# note: attacks, logging of the batch just trained on, robust accuracy in eval mode
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
for it in range(250):
    i = torch.randint(0, 1400, (64,))
    x = Xtr[i].clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(net(x), ytr[i]), x)
    xa = (x + 0.05 * g.sign()).detach()
    loss = F.cross_entropy(net(xa), ytr[i])
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 10 == 0:
        tr = (net(Xtr[i]).argmax(1) == ytr[i]).float().mean().item()
    if it % 50 == 49:
        # robust accuracy: attack in eval mode, gradients wanted
        net.eval()
        xt = Xte.clone().requires_grad_()
        F.cross_entropy(net(xt), yte).backward()
        print(it, tr, (net(xt + 0.05 * xt.grad.sign()).argmax(1) == yte).float().mean().item())
        net.train()
        opt.zero_grad()
