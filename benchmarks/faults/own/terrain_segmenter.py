# fault: double-softmax
# note: The segmenter ends in Softmax2d and cross_entropy takes another softmax of its output.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)


def terrain(n):
    """Height maps and the class of each pixel: water, land, snow."""
    height = F.avg_pool2d(torch.randn(n, 1, 20, 20), 3, 1, 1) * 3
    return height + 0.2 * torch.randn_like(height), (height[:, 0] > -0.4).long() + (height[:, 0] > 0.6).long()


segmenter = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
    nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
    nn.Conv2d(16, 3, 1), nn.Softmax2d(),
)
optimizer = torch.optim.Adam(segmenter.parameters(), lr=3e-3)
for step in range(150):
    image, mask = terrain(8)
    loss = F.cross_entropy(segmenter(image), mask)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
image, mask = terrain(40)
print("pixel accuracy", (segmenter(image).argmax(1) == mask).float().mean().item())
