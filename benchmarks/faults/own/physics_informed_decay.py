# fault: none
# near: unregistered-module
# note: Collocation points that ask for gradients hang on the module in a plain list, to differentiate by; nobody means
# to train them.
import torch
from torch import nn

torch.manual_seed(0)


class DecayNet(nn.Module):
    """Solves u' = -3u, u(0) = 1 on [0, 1]."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        self.points = [torch.zeros(1, 1, requires_grad=True), torch.linspace(0, 1, 40)[:, None].requires_grad_()]

    def loss(self):
        start, inner = self.points
        u = self.net(inner)
        du, = torch.autograd.grad(u.sum(), inner, create_graph=True)
        return (du + 3 * u).square().mean() + (self.net(start) - 1).square().mean()


model = DecayNet()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
for step in range(500):
    loss = model.loss()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    t = torch.linspace(0, 1, 100)[:, None]
    print("largest error", (model.net(t) - torch.exp(-3 * t)).abs().max().item())
