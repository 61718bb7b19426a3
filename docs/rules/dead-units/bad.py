# expect: dead-units
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


def bars(count):
    """Noisy 8x8 images of one bar each; label 1 if it is upright."""
    images = 0.5 * torch.randn(count, 1, 8, 8)
    labels = torch.randint(2, (count,))
    for image, upright, place in zip(images, labels, torch.randint(8, (count,)), strict=True):
        (image[0].T if upright else image[0])[place] += 1
    return images, labels


model = nn.Sequential(
    nn.Conv2d(1, 8, kernel_size=3, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(512, 2),
)
nn.init.constant_(model[0].bias, -5.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
images, labels = bars(2000)
for step in range(300):
    rows = torch.randint(2000, (32,))
    loss = F.cross_entropy(model(images[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
