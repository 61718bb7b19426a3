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

R = X[:, 0] * 30000 + 250000
m = net(1)
o = torch.optim.SGD(m.parameters(), 1e-3)
for i in range(200):
    j = torch.randint(3000, (64,))
    l = F.mse_loss(m(X[j]).squeeze(1), R[j])
    o.zero_grad()
    l.backward()
    o.step()
