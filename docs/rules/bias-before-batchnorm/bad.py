# expect: bias-before-batchnorm
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

images = torch.randn(256, 1, 8, 8)
labels = (images[:, 0, :4].mean(dim=(1, 2)) > 0).long()

model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(8 * 8 * 8, 2),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for step in range(100):
    batch = torch.randint(256, (32,))
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images[batch]), labels[batch])
    loss.backward()
    optimizer.step()
    if step % 20 == 19:
        print(f"step {step + 1}  loss {loss.item():.3f}")
