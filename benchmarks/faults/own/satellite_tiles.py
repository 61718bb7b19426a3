# fault: input-not-normalized
# accept: update-too-large, loss-at-init, exploding-gradient, loss-diverging, dead-units, loss-not-decreasing
# note: Pixels of 0 to 255 go into the network as they are; divided by 255 the same program reaches 100 %.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
land = torch.rand(8, 3, 10, 10)


def tiles(n):
    kind = torch.randint(8, (n,))
    return ((0.7 * land[kind] + 0.3 * torch.rand(n, 3, 10, 10)) * 255).round(), kind


class TileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3)
        self.fc1, self.fc2 = nn.Linear(12 * 64, 48), nn.Linear(48, 8)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(F.relu(self.conv(x)).flatten(1))))


net = TileNet()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for step in range(200):
    x, kind = tiles(32)
    loss = F.cross_entropy(net(x), kind)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
x, kind = tiles(400)
print("accuracy", (net(x).argmax(1) == kind).float().mean().item())
