# fault: none
# near: gradients-not-cleared
# note: Texture accuracy 0.912, moisture R2 0.953. Two backward calls add up before each step and zero_grad comes after the step: as meant.

"""Soil samples: one trunk, a texture class head and a moisture head, each with its own backward pass."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def soil(n, seed):
    world = torch.Generator().manual_seed(0)
    a, b = torch.randn(14, 4, generator=world), torch.randn(14, generator=world) / 14 ** 0.5
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 14, generator=g)
    texture = (x @ a / 14 ** 0.5 + 0.1 * torch.randn(n, 4, generator=g)).argmax(1)
    moisture = torch.sin(2 * (x @ b)) + 0.5 * x[:, 0] + 0.1 * torch.randn(n, generator=g)
    return x, texture, moisture


class SoilNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(14, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.texture = nn.Linear(64, 4)
        self.moisture = nn.Linear(64, 1)

    def forward(self, x):
        z = self.trunk(x)
        return self.texture(z), self.moisture(z).squeeze(-1)


def report(net, x, t, m):
    net.eval()
    with torch.no_grad():
        logits, mo = net(x)
        return (logits.argmax(1) == t).float().mean().item(), 1 - ((mo - m) ** 2).mean().item() / m.var().item()


torch.manual_seed(6)
xtr, ttr, mtr = soil(5000, 1)
xte, tte, mte = soil(1200, 2)
mm, ms = mtr.mean(), mtr.std()
mtr, mte = (mtr - mm) / ms, (mte - mm) / ms
loader = DataLoader(TensorDataset(xtr, ttr, mtr), batch_size=64, shuffle=True)

net = SoilNet()
opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
for epoch in range(10):
    net.train()
    for x, t, m in loader:
        logits, mo = net(x)
        texture_loss = nn.functional.cross_entropy(logits, t)
        moisture_loss = nn.functional.mse_loss(mo, m)
        texture_loss.backward(retain_graph=True)
        moisture_loss.backward()        # adds to what the first task left in the trunk
        opt.step()
        opt.zero_grad()
    acc, r2 = report(net, xte, tte, mte)
    print(f"epoch {epoch}: texture acc {acc:.3f} moisture R2 {r2:.3f}")
print(f"final texture accuracy {acc:.3f}, moisture R2 {r2:.3f}")
