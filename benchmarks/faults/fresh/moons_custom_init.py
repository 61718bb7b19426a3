# fault: symmetric-init
# note: all weights of a layer start at one constant, so the units of a layer are and remain identical; test bce 0.269 and accuracy 0.890, with Xavier init 0.008 and 1.000.

import torch
from sklearn.datasets import make_moons


class Affine(torch.nn.Module):
    def __init__(self, fan_in, fan_out):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(fan_out, fan_in))
        self.bias = torch.nn.Parameter(torch.empty(fan_out))
        self.reset_parameters()

    def reset_parameters(self):
        torch.nn.init.constant_(self.weight, 1.0 / self.weight.shape[1])
        torch.nn.init.zeros_(self.bias)

    def forward(self, x):
        return x @ self.weight.t() + self.bias


class MoonNet(torch.nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.l1, self.l2, self.l3 = Affine(2, width), Affine(width, width), Affine(width, 1)

    def forward(self, x):
        return self.l3(torch.tanh(self.l2(torch.tanh(self.l1(x))))).squeeze(1)


def dataset(n, seed):
    X, y = make_moons(n, noise=0.12, random_state=seed)
    X = (X - [0.5, 0.25]) / [0.87, 0.5]
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


torch.manual_seed(0)
X, y = dataset(1000, 0)
Xt, yt = dataset(400, 1)
net = MoonNet()
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
bce = torch.nn.BCEWithLogitsLoss()
for epoch in range(30):
    net.train()
    for idx in torch.randperm(len(X)).split(50):
        opt.zero_grad()
        loss = bce(net(X[idx]), y[idx])
        loss.backward()
        opt.step()
    if epoch % 5 == 4:
        net.eval()
        with torch.no_grad():
            z = net(Xt)
            print(f"epoch {epoch + 1}: test bce {bce(z, yt).item():.4f}, accuracy {((z > 0) == (yt > 0.5)).float().mean().item():.4f}")
