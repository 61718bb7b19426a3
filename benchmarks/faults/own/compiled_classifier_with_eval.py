# fault: none
# near: train-mode-in-eval
# note: A compiled model with dropout and batch norm, switched between train and eval as it should be.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
centres = torch.randn(6, 20)


def points(n):
    y = torch.randint(6, (n,))
    return TensorDataset(centres[y] + torch.randn(n, 20), y)


model = nn.Sequential(
    nn.Linear(20, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 6)
)
compiled = torch.compile(model, backend="eager")
optimizer = torch.optim.AdamW(compiled.parameters(), lr=3e-3)
train, test = DataLoader(points(1200), 40, shuffle=True), DataLoader(points(300), 60)
for epoch in range(6):
    compiled.train()
    for x, y in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(compiled(x), y).backward()
        optimizer.step()
    compiled.eval()
    with torch.no_grad():
        right = sum((compiled(x).argmax(1) == y).sum().item() for x, y in test)
    print(epoch, right / 300)
