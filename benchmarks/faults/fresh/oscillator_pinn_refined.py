# fault: none
# near: step-without-backward
# note: Relative error 0.0001. Adam, then L-BFGS with a closure (several backward passes per step, zero_grad inside the closure), second derivatives by double backward.

"""Damped oscillator solved by a physics-informed network: a few hundred Adam steps, then L-BFGS."""
import torch
import torch.nn as nn

torch.manual_seed(5)
DELTA, OMEGA = 0.5, 4.0


def exact(t):
    w = (OMEGA ** 2 - DELTA ** 2) ** 0.5
    return torch.exp(-DELTA * t) * (torch.cos(w * t) + DELTA / w * torch.sin(w * t))


net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
t = torch.linspace(0, 2, 100)[:, None].requires_grad_(True)
t0 = torch.zeros(1, 1, requires_grad=True)


def physics_loss():
    u = net(t)
    du, = torch.autograd.grad(u.sum(), t, create_graph=True)
    ddu, = torch.autograd.grad(du.sum(), t, create_graph=True)
    residual = ddu + 2 * DELTA * du + OMEGA ** 2 * u
    u0 = net(t0)
    du0, = torch.autograd.grad(u0.sum(), t0, create_graph=True)
    return 1e-2 * residual.pow(2).mean() + (u0 - 1).pow(2).sum() + 0.1 * du0.pow(2).sum()


adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for i in range(400):
    adam.zero_grad()
    loss = physics_loss()
    loss.backward()
    adam.step()
    if i % 100 == 0:
        print(f"adam {i:4d} {loss.item():.5f}")

lbfgs = torch.optim.LBFGS(net.parameters(), max_iter=20, history_size=30, line_search_fn="strong_wolfe")


def closure():
    lbfgs.zero_grad()
    loss = physics_loss()
    loss.backward()
    return loss


for outer in range(25):
    loss = lbfgs.step(closure)
    if outer % 5 == 0:
        print(f"lbfgs {outer:3d} {loss.item():.6f}")

with torch.no_grad():
    grid = torch.linspace(0, 2, 333)[:, None]
    err = (net(grid) - exact(grid)).pow(2).mean().sqrt() / exact(grid).pow(2).mean().sqrt()
print(f"relative error against the exact solution: {err.item():.4f}")
