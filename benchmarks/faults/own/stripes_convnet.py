# fault: bias-before-batchnorm
# note: Both convolutions train a bias that the batch normalisation behind them subtracts. Harmless, so an info.
import torch
from torch import nn

torch.manual_seed(1)


def stripes(n, size=14):
    """Images of horizontal, vertical or diagonal stripes."""
    kind = torch.randint(3, (n,))
    row, col = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    axis = torch.stack([row, col, row + col])[kind].float()
    return torch.sin(axis + 6 * torch.rand(n, 1, 1))[:, None] + torch.randn(n, 1, size, size), kind


model = nn.Sequential(
    nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(12, 24, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for step in range(150):
    images, kinds = stripes(64)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), kinds).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    images, kinds = stripes(500)
    print("accuracy", (model(images).argmax(1) == kinds).float().mean().item())
