# fault: none
# near: gradients-not-cleared
# note: Relative error 7.6e-5. Double backward, Adam and then L-BFGS with a closure that is evaluated several times per step; the collocation points require grad for the derivatives only (their own .grad is never used).

"""Physics-informed network for u'' + 0.5 u' + 6 u = 0, u(0) = 1, u'(0) = 0 on [0, 4]: Adam first, then L-BFGS."""
import math

import torch
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

T, DAMP, STIFF = 4.0, 0.5, 6.0


def exact(t):
    a = DAMP / 2
    w = math.sqrt(STIFF - a * a)
    return torch.exp(-a * t) * (torch.cos(w * t) + a / w * torch.sin(w * t))


class Field(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, t):
        return self.net(2 * t / T - 1)


def grad(u, t):
    return torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]


def physics_loss(field, t):
    u = field(t)
    du = grad(u, t)
    residual = grad(du, t) + DAMP * du + STIFF * u
    t0 = torch.zeros(1, 1, requires_grad=True)
    u0 = field(t0)
    start = (u0 - 1).square() + grad(u0, t0).square()
    return residual.square().mean() + 20 * start.squeeze()


def relative_error(field):
    field.eval()
    t = torch.linspace(0, T, 333).unsqueeze(1)
    with torch.no_grad():
        e = (field(t) - exact(t)).norm() / exact(t).norm()
    field.train()
    return e.item()


field = Field()
points = torch.linspace(0, T, 100).unsqueeze(1).requires_grad_(True)

adam = torch.optim.Adam(field.parameters(), lr=5e-3)
for it in range(1, 1001):
    adam.zero_grad()
    loss = physics_loss(field, points)
    loss.backward()
    adam.step()
    if it % 250 == 0:
        print(f"adam  {it:5d}  loss {loss.item():.3e}  relative error {relative_error(field):.3e}")

lbfgs = torch.optim.LBFGS(field.parameters(), lr=1.0, max_iter=20, history_size=30, line_search_fn="strong_wolfe")


def closure():
    lbfgs.zero_grad()
    value = physics_loss(field, points)
    value.backward()
    return value


for it in range(1, 21):
    loss = lbfgs.step(closure)
    if it % 5 == 0:
        print(f"lbfgs {it:5d}  loss {loss.item():.3e}  relative error {relative_error(field):.3e}")

print(f"relative L2 error of the solution: {relative_error(field):.2e}")
