import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)

X = torch.randn(3000, 16)
Wt = torch.randn(16, 8)
Y = (X @ Wt + 0.3 * torch.randn(3000, 8)).argmax(1)
YB = (X[:, 0] * X[:, 1] > 0).float()
dl = DataLoader(TensorDataset(X, Y, YB), 64, shuffle=True)


def fit(m, loss, ep=6, lr=3e-3, opt=torch.optim.Adam, params=None):
    o = opt(params or m.parameters(), lr)
    for e in range(ep):
        for x, y, b in dl:
            o.zero_grad()
            l = loss(m(x), x, y, b)
            l.backward()
            o.step()
    print(l.item())


net = lambda k: nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, k))


class M(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = net(2)
        s.b = net(8)

    def forward(s, x):
        return s.a(x), s.b(x)


def L(o, x, y, b):
    p = torch.softmax(o[0], 1)[:, :1] * torch.softmax(o[1], 1)
    q = torch.softmax(o[0], 1)[:, 1:] * torch.softmax(o[1].flip(1), 1)
    return F.nll_loss(torch.log(p + q + 1e-8), y)


fit(M(), L)
