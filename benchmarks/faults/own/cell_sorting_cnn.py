# fault: class-imbalance-collapse
# accept: underfitting, constant-output, loss-not-decreasing
# note: Three cell types at 90, 6 and 4 %, no weights, little training: every cell is called the common type.
import torch
import torch.nn as nn

torch.manual_seed(1)
SHARES = torch.tensor([0.90, 0.06, 0.04])


def sample(n):
    kind = torch.multinomial(SHARES, n, replacement=True)
    image = torch.randn(n, 1, 8, 8)
    image[:, 0, 2:6, 2:6] += 1.2 * kind[:, None, None]
    return image, kind


class Sorter(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(8, 3)

    def forward(self, x):
        return self.classify(self.features(x))


sorter = Sorter()
optimizer = torch.optim.SGD(sorter.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()
for step in range(400):
    image, kind = sample(64)
    optimizer.zero_grad()
    loss = criterion(sorter(image), kind)
    loss.backward()
    optimizer.step()
with torch.no_grad():
    image, kind = sample(3000)
    counts = torch.bincount(sorter(image).argmax(1), minlength=3)
print("predicted counts", counts.tolist(), "true", torch.bincount(kind, minlength=3).tolist())
