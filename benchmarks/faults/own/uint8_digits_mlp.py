# fault: constant-output
# accept: loss-not-decreasing, input-not-normalized, underfitting
# note: The uint8 pixels are scaled with `// 255`, an integer division: all pixels below 255 become 0, and nearly all
# images look the same.
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(6)


class Glyphs(Dataset):
    def __init__(self, count):
        shapes = torch.rand(8, 100, generator=torch.Generator().manual_seed(1)) > 0.6
        self.labels = torch.randint(8, (count,))
        ink = shapes[self.labels].float() * torch.rand(count, 100).clamp(0.3) * 240
        self.pixels = (ink + 14 * torch.rand(count, 100)).to(torch.uint8)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return (self.pixels[index] // 255).float(), self.labels[index]


train, test = Glyphs(2000), Glyphs(400)
model = nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 8))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(6):
    for pixels, label in DataLoader(train, batch_size=50, shuffle=True):
        loss = nn.functional.cross_entropy(model(pixels), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    right = sum((model(p).argmax(1) == t).sum().item() for p, t in DataLoader(test, batch_size=100))
print("test accuracy", right / len(test))
