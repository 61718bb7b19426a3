# fault: save-load-mismatch
# note: the codebook is a non-persistent buffer; validation error 0.073 -> 0.125 after loading (the codes collapse too: constant-output is true as well)
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


buffer_b = io.BytesIO()


def read(buffer):
    buffer.seek(0)
    return torch.load(buffer)


class VQ(nn.Module):
    def __init__(self, k=32, d=16):
        super().__init__()
        self.register_buffer("codes", torch.randn(k, d), persistent=False)
        self.register_buffer("n", torch.ones(k), persistent=False)
        self.register_buffer("s", self.codes.clone(), persistent=False)

    def forward(self, z):
        i = torch.cdist(z, self.codes).argmin(1)
        q = self.codes[i]
        if self.training:
            with torch.no_grad():
                oh = F.one_hot(i, len(self.codes)).float()
                self.n = self.n * 0.98 + 0.02 * oh.sum(0)
                self.s = self.s * 0.98 + 0.02 * oh.t() @ z
                self.codes = self.s / (self.n[:, None] + 1e-3)
        return z + (q - z).detach(), F.mse_loss(z, q.detach())


class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.vq = VQ()
        self.dec = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        q, c = self.vq(self.enc(x))
        return self.dec(q), c


def main():
    m = AE()
    opt = torch.optim.Adam(m.parameters(), 2e-3)
    best = 1e9
    for e in range(8):
        m.train()
        for s in range(0, 1400, 50):
            r, c = m(Xtr[s : s + 50])
            l = F.mse_loss(r, Xtr[s : s + 50]) + 0.25 * c
            opt.zero_grad()
            l.backward()
            opt.step()
        m.eval()
        with torch.no_grad():
            v = F.mse_loss(m(Xte)[0], Xte).item()
        print(e, v)
        if v < best:
            best = v
            torch.save({"model": m.state_dict(), "epoch": e}, buffer_b)
    fin = AE()
    fin.load_state_dict(read(buffer_b)["model"])
    fin.eval()
    with torch.no_grad():
        print("restored", F.mse_loss(fin(Xte)[0], Xte).item())


main()
