# fault: underfitting
# accept: loss-not-decreasing
# note: The residual blocks never call their activation: the net is linear and cannot bend; training loss stays at .50 (noise-free target). Explained variance .409, repaired 1.000.

"""Learn the level function of a two-armed spiral from scattered points (toy for the surface-fitting chapter)."""
import math
import torch
from torch import nn


class SpiralPoints(torch.utils.data.IterableDataset):
    def __init__(self, n_batches, batch_size, seed):
        self.n_batches, self.batch_size, self.seed = n_batches, batch_size, seed
        self.epoch = 0

    def __iter__(self):
        gen = torch.Generator().manual_seed(self.seed + 1000 * self.epoch)
        self.epoch += 1
        for _ in range(self.n_batches):
            r = torch.rand(self.batch_size, generator=gen) * 1.5 + 0.2
            phi = torch.rand(self.batch_size, generator=gen) * 2 * math.pi
            xy = torch.stack([r * phi.cos(), r * phi.sin()], 1)
            level = torch.sin(2 * phi + 2.5 * r) + 0.8 * r * phi.cos()
            yield xy, level.unsqueeze(1)


class FieldNet(nn.Module):
    """Residual MLP: an input projection, three residual blocks and a read-out."""

    def __init__(self, width=64, n_blocks=3):
        super().__init__()
        self.inp = nn.Linear(2, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"a": nn.Linear(width, width), "b": nn.Linear(width, width)}) for _ in range(n_blocks))
        self.act = nn.Tanh()
        self.out = nn.Linear(width, 1)

    def forward(self, xy):
        h = self.inp(xy)
        for blk in self.blocks:
            h = h + blk["b"](blk["a"](h))
        return self.out(h)


def explained(net, points):
    net.eval()
    se = var = 0.0
    with torch.no_grad():
        for xy, level in points:
            se += ((net(xy) - level) ** 2).sum().item()
            var += (level ** 2).sum().item()
    return 1 - se / var


torch.manual_seed(2)
train_points = torch.utils.data.DataLoader(SpiralPoints(60, 128, seed=1), batch_size=None)
held_out = torch.utils.data.DataLoader(SpiralPoints(10, 200, seed=999), batch_size=None)
net = FieldNet()
optim = torch.optim.Adam(net.parameters(), lr=2e-3)
sched = torch.optim.lr_scheduler.MultiStepLR(optim, [16, 22], gamma=0.3)
for epoch in range(25):
    net.train()
    mse = 0.0
    for xy, level in train_points:
        loss = nn.functional.mse_loss(net(xy), level)
        optim.zero_grad()
        loss.backward()
        optim.step()
        mse += loss.item() / 60
    sched.step()
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}: mse {mse:.4f}  explained variance {explained(net, held_out):.3f}")
print("explained variance on held-out points:", round(explained(net, held_out), 3))
