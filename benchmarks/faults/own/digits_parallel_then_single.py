# fault: save-load-mismatch
# note: names begin with module., the filter lets nothing pass
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


buffer_e = io.BytesIO()


def read(buffer):
    buffer.seek(0)
    return torch.load(buffer)


def net():
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))


m = nn.DataParallel(net())
loop(m, 8)
torch.save(m.state_dict(), buffer_e)
m2 = net()
sd = read(buffer_e)
own = m2.state_dict()
own.update({k: v for k, v in sd.items() if k in own})
m2.load_state_dict(own)
print(acc(m2))
loop(m2, 2, 1e-4)
print(acc(m2))
