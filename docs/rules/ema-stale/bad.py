# expect: ema-stale
import copy

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x = torch.randn(600, 4) * 3 + 2
y = ((x[:, 0] - 2) * (x[:, 1] - 2) > 0).long()
train_x, train_y, test_x, test_y = x[:500], y[:500], x[500:], y[500:]

model = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 2))
average = copy.deepcopy(model)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


@torch.no_grad()
def follow(decay=0.9):
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)


for epoch in range(20):
    model.train()
    for rows in torch.randperm(500).split(25):
        loss = F.cross_entropy(model(train_x[rows]), train_y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow()
    model.eval()
    average.eval()
    with torch.no_grad():
        hits = [(each(test_x).argmax(1) == test_y).float().mean().item() for each in (model, average)]
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}  accuracy {hits[0]:.2f}, of the average {hits[1]:.2f}")
