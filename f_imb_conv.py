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

m = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
o = torch.optim.SGD(m.parameters(), 1e-2)
for i in range(300):
    y = torch.multinomial(torch.tensor([0.9, 0.06, 0.04]), 64, True)
    x = torch.randn(64, 1, 8, 8)
    x[:, 0, 2, 2] += 0.5 * y
    l = F.cross_entropy(m(x), y)
    o.zero_grad()
    l.backward()
    o.step()
