# fault: none
# near: frozen-in-train
# note: The usual recipe for fine-tuning on small batches: parameters of the batch norms are frozen and the layers are
# in eval mode on purpose, everything else trains, dropout included.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(2)
prototypes = torch.randn(4, 1, 12, 12)


def pictures(n, shift=0.0):
    y = torch.randint(4, (n,))
    return prototypes[y] + shift + 1.2 * torch.randn(n, 1, 12, 12), y


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.drop, self.fc = nn.Dropout(0.1), nn.Linear(16 * 9, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        return self.fc(self.drop(F.relu(self.norm2(self.conv2(x))).flatten(1)))


def train(model, steps, size, lr, shift=0.0, still=False):
    model.train()
    for module in model.modules():
        if still and isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    for _ in range(steps):
        x, y = pictures(size, shift)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        x, y = pictures(500, shift)
        print("accuracy", (model(x).argmax(1) == y).float().mean().item())


net = SmallNet()
train(net, steps=150, size=64, lr=2e-3)
train(net, steps=150, size=4, lr=3e-4, shift=0.3, still=True)
