# expect: input-not-normalized
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# 1,000 images of 12 x 12 pixels, ten classes, as they come from a file: whole numbers from 0 to 255.
labels = torch.randint(10, (1000,))
patterns = torch.rand(10, 1, 12, 12)
pixels = ((patterns[labels] + 0.4 * torch.rand(1000, 1, 12, 12)) / 1.4 * 255).to(torch.uint8)
images = pixels.float()

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for epoch in range(5):
    for batch in torch.randperm(1000).split(32):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}  loss {loss.item():.3f}")
