# fault: underfitting
# accept: loss-not-decreasing, constant-output
# note: A linear model where the product of two features counts most: training and test loss settle at 0.51 (chance is
# 0.69); a hidden layer brings both far below. Reported as an info.
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(3000, 6)
y = (x[:, 0] * x[:, 1] + 0.7 * x[:, 2] > 0).float().unsqueeze(1)
train, test = TensorDataset(x[:2400], y[:2400]), TensorDataset(x[2400:], y[2400:])
model = nn.Linear(6, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(20):
    for rows, labels in DataLoader(train, batch_size=30, shuffle=True):
        optimizer.zero_grad()
        criterion(model(rows), labels).backward()
        optimizer.step()
    with torch.no_grad():
        test_loss = sum(criterion(model(r), t).item() for r, t in DataLoader(test, batch_size=100)) / 6
print(f"test loss {test_loss:.3f}, chance {math.log(2):.3f}")
