# fault: save-load-mismatch
# note: running mean and variance are non-persistent buffers; 95 % before saving, 5 % after loading
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


buffer_a = io.BytesIO()


def read(buffer):
    buffer.seek(0)
    return torch.load(buffer)


class Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.register_buffer("mean", torch.zeros(d), persistent=False)
        self.register_buffer("var", torch.ones(d), persistent=False)

    def forward(self, x):
        if self.training:
            m, v = x.mean(0), x.var(0)
            with torch.no_grad():
                self.mean.lerp_(m.detach(), 0.1)
                self.var.lerp_(v.detach(), 0.1)
            return (x - m) / (v + 1e-5).sqrt()
        return (x - self.mean) / (self.var + 1e-5).sqrt()


def net():
    return nn.Sequential(Norm(64), nn.Linear(64, 64), Norm(64), nn.ReLU(), nn.Linear(64, 10))


m = net()
loop(m)
print(acc(m))
torch.save(m.state_dict(), buffer_a)
m2 = net()
m2.load_state_dict(read(buffer_a))
print(acc(m2))
