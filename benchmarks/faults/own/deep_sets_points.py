# fault: symmetric-init
# accept: underfitting
# note: Every weight starts at 0.1: all units of a layer compute the same and stay the same, so the network is one unit
# wide.
import torch
from torch import nn

torch.manual_seed(0)


class DeepSet(nn.Module):
    def __init__(self):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.rho = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.constant_(module.weight, 0.1)
                nn.init.zeros_(module.bias)

    def forward(self, points):
        return self.rho(self.phi(points).mean(1))


model = DeepSet()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for step in range(300):
    points = torch.randn(64, 12, 3)
    wide = points[:, :, 0].std(1) > points[:, :, 1].std(1)
    loss = nn.functional.cross_entropy(model(points), wide.long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
