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

m = nn.Sequential(*net(8), nn.Softmax(1))
o = torch.optim.AdamW(m.parameters(), 3e-3)
k = 0
for e in range(6):
    for x, y, b in dl:
        (F.cross_entropy(m(x), y) / 4).backward()
        k += 1
        if k % 4 == 0:
            o.step()
            o.zero_grad()
