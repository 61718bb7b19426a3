# fault: none
# near: train-mode-in-eval
# note: pseudo targets, Monte-Carlo dropout and new statistics, all with gradients enabled
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


net = nn.Sequential(nn.Linear(64, 100), nn.BatchNorm1d(100), nn.ReLU(), nn.Dropout(0.3), nn.Linear(100, 10))
opt = torch.optim.Adam(net.parameters(), 1e-3)
lab, unl = Xtr[:400], Xtr[400:]
for it in range(250):
    i = torch.randint(0, 400, (64,))
    j = torch.randint(0, 1000, (64,))
    p = net(unl[j]).softmax(1).detach()
    q = net(unl[j] + 0.1 * torch.randn(64, 64)).log_softmax(1)
    loss = F.cross_entropy(net(lab[i]), ytr[:400][i]) + F.kl_div(q, p, reduction="batchmean")
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 50 == 49:
        net.eval()
        for m in net.modules():
            if isinstance(m, nn.Dropout):
                m.train()
        P = torch.stack([net(Xte).softmax(1).detach() for _ in range(10)]).mean(0)
        print((P.argmax(1) == yte).float().mean().item())
        net.train()
for m in net.modules():
    if isinstance(m, nn.BatchNorm1d):
        m.reset_running_stats()
for s in range(0, 1400, 100):
    net(Xtr[s : s + 100])
print(acc(net))
