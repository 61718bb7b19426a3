# fault: none
# near: input-not-normalized
# note: Raw pixels go in, and the model's first layer is a batch normalisation without parameters.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
land = torch.rand(8, 3, 10, 10)


def tiles(n):
    kind = torch.randint(8, (n,))
    return ((0.7 * land[kind] + 0.3 * torch.rand(n, 3, 10, 10)) * 255).round(), kind


net = nn.Sequential(
    nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 64, 8)
)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for step in range(150):
    x, kind = tiles(32)
    loss = F.cross_entropy(net(x), kind)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
net.eval()
with torch.no_grad():
    x, kind = tiles(400)
    print("accuracy", (net(x).argmax(1) == kind).float().mean().item())
