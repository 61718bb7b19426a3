# fault: none
# near: duplicate-parameter
# note: Relative error .0014. Adam and L-BFGS hold the same parameters but work one after the other.

"""Physics-informed network for x'' + 2*d*x' + w^2*x = 0, x(0)=1, x'(0)=0: Adam first, then L-BFGS."""
import math

import torch
import torch.nn as nn

DAMP, OMEGA, T_END = 0.4, 4.0, 2.5


class Solution(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.l1, self.l2, self.l3 = nn.Linear(1, width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, t):
        s = 2 * t / T_END - 1
        return self.l3(torch.tanh(self.l2(torch.tanh(self.l1(s)))))


def exact(t):
    w = math.sqrt(OMEGA ** 2 - DAMP ** 2)
    return torch.exp(-DAMP * t) * (torch.cos(w * t) + DAMP / w * torch.sin(w * t))


def derivatives(net, t):
    t = t.requires_grad_(True)
    x = net(t)
    dx, = torch.autograd.grad(x.sum(), t, create_graph=True)
    ddx, = torch.autograd.grad(dx.sum(), t, create_graph=True)
    return x, dx, ddx


def physics_loss(net, t):
    x, dx, ddx = derivatives(net, t)
    residual = (ddx + 2 * DAMP * dx + OMEGA ** 2 * x) / OMEGA ** 2
    x0, dx0, _ = derivatives(net, torch.zeros(1, 1))
    return (residual ** 2).mean() + (x0 - 1).square().sum() + (dx0 / OMEGA).square().sum()


def relative_error(net):
    t = torch.linspace(0, T_END, 300).unsqueeze(1)
    with torch.no_grad():
        return ((net(t) - exact(t)).norm() / exact(t).norm()).item()


def main():
    torch.manual_seed(2)
    net = Solution()
    adam = torch.optim.Adam(net.parameters(), lr=4e-3)
    for step in range(1000):
        loss = physics_loss(net, T_END * torch.rand(80, 1))
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 250 == 249:
            print(f"adam {step + 1}: loss {loss.item():.3e} relative error {relative_error(net):.4f}")

    collocation = torch.linspace(0, T_END, 120).unsqueeze(1)
    lbfgs = torch.optim.LBFGS(net.parameters(), lr=1.0, max_iter=25, history_size=20, line_search_fn="strong_wolfe")

    def closure():
        lbfgs.zero_grad()
        value = physics_loss(net, collocation.clone())
        value.backward()
        return value

    for sweep in range(8):
        value = lbfgs.step(closure)
        print(f"l-bfgs sweep {sweep}: loss {value.item():.3e} relative error {relative_error(net):.5f}")
    print(f"relative L2 error of the solution: {relative_error(net):.5f}")


if __name__ == "__main__":
    main()
