# fault: data-not-shuffled
# note: The stream comes sorted by class, 160 images each, and the shuffle buffer holds only 30: batches still hold one
# or two classes.
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

torch.manual_seed(0)
random.seed(0)
labels = torch.arange(5).repeat_interleave(160)
images = 0.7 * torch.randn(800, 1, 8, 8) + torch.randn(5, 1, 8, 8)[labels]


class BufferedStream(IterableDataset):
    """Yields pairs from a sorted source through a buffer of fixed size."""

    def __init__(self, size):
        self.size = size

    def __iter__(self):
        buffer = []
        for index in range(len(labels)):
            buffer.append(index)
            if len(buffer) > self.size:
                chosen = buffer.pop(random.randrange(len(buffer)))
                yield images[chosen], labels[chosen]
        random.shuffle(buffer)
        for chosen in buffer:
            yield images[chosen], labels[chosen]


model = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for epoch in range(8):
    model.train()
    for x, y in DataLoader(BufferedStream(30), batch_size=20):
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print("accuracy on the training images", (model(images).argmax(1) == labels).float().mean().item())
