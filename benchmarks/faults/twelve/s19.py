# fault: step-without-backward
# accept: parameter-not-updated, loss-not-decreasing
# note: The LBFGS closure returns the loss without calling backward(): nothing changes over 300 steps, R2 about 0;
# with it 0.997.
"""Full-batch fit of a small network to a noisy 2-d surface with LBFGS."""
import math

import torch
from torch import nn
from torch.optim import LBFGS

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

N_TRAIN, N_TEST = 12000, 2000


def surface(xy):
    x, y = xy[:, 0], xy[:, 1]
    return torch.sin(math.pi * x) * torch.cos(2 * y) + 0.5 * x * y


xy = torch.rand(N_TRAIN + N_TEST, 2) * 4 - 2
z = surface(xy) + 0.05 * torch.randn(len(xy))
x_train, z_train = xy[:N_TRAIN], z[:N_TRAIN]
x_test, z_test = xy[N_TRAIN:], z[N_TRAIN:]


class Surface(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.l1 = nn.Linear(2, width)
        self.l2 = nn.Linear(width, width)
        self.l3 = nn.Linear(width, 1)

    def forward(self, xy):
        h = torch.tanh(self.l1(xy))
        h = torch.tanh(self.l2(h))
        return self.l3(h).squeeze(1)


def r_squared(model):
    with torch.no_grad():
        resid = z_test - model(x_test)
    return 1 - resid.pow(2).sum().item() / (z_test - z_test.mean()).pow(2).sum().item()


model = Surface()
mse = nn.MSELoss()
lbfgs = LBFGS(model.parameters(), lr=0.8, max_iter=3, history_size=20)

history = []
for outer in range(300):

    def closure():
        lbfgs.zero_grad()
        objective = mse(model(x_train), z_train)
        return objective

    value = lbfgs.step(closure)
    history.append(value.item())
    if outer % 30 == 29:
        print(f"outer {outer + 1:3d}: mse {history[-1]:.6f}, test R^2 {r_squared(model):.4f}")
