# fault: none
# near: gradients-discarded
# note: Each step makes adversarial inputs in eval mode with a backward pass of its own, whose parameter gradients are
# cleared unused, as they should be.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
prototypes = torch.randn(4, 1, 10, 10)


def pictures(n):
    y = torch.randint(4, (n,))
    return prototypes[y] + 0.8 * torch.randn(n, 1, 10, 10), y


net = nn.Sequential(
    nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, 4)
)
optimizer = torch.optim.SGD(net.parameters(), lr=0.02)


def attack(x, y, size=0.1):
    net.eval()
    x = x.clone().requires_grad_()
    F.cross_entropy(net(x), y).backward()
    net.train()
    return (x + size * x.grad.sign()).detach()


for step in range(250):
    x, y = pictures(32)
    adversarial = attack(x, y)
    optimizer.zero_grad()
    F.cross_entropy(net(adversarial), y).backward()
    optimizer.step()
x, y = pictures(400)
adversarial = attack(x, y)
net.eval()
with torch.no_grad():
    print("accuracy", (net(x).argmax(1) == y).float().mean().item(), (net(adversarial).argmax(1) == y).float().mean().item())
