# fault: none
# near: save-load-mismatch
# note: a non-persistent hidden state and a counter need not be restored
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


buffer_h = io.BytesIO()


def read(buffer):
    buffer.seek(0)
    return torch.load(buffer)


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("pos", torch.linspace(0, 1, 64), persistent=False)
        self.register_buffer("h", torch.zeros(50, 32), persistent=False)
        self.register_buffer("calls", torch.zeros(1), persistent=False)
        self.rff = nn.Linear(64, 32)
        self.c = nn.GRUCell(32, 32)
        self.o = nn.Linear(32, 10)

    def forward(self, x):
        z = F.relu(self.rff(x * self.pos))
        h = self.h if len(x) == 50 else z.new_zeros(len(x), 32)
        h = self.c(z, h)
        if len(x) == 50:
            self.h = h.detach()
        self.calls += 1
        return self.o(h)


m = M()
loop(m, 6)
torch.save(m.state_dict(), buffer_h)
print(acc(m))
m2 = M()
m2.load_state_dict(read(buffer_h))
print(acc(m2))
