# fault: underfitting
# accept: loss-not-decreasing, constant-output
# note: A linear model for a problem that is the product of two features: training and test loss settle at ln 2. A
# hidden layer solves it. Reported as an info.
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(1500, 6)
y = (x[:, 0] * x[:, 1] + 0.7 * x[:, 2] > 0).float().unsqueeze(1)
train, test = TensorDataset(x[:1200], y[:1200]), TensorDataset(x[1200:], y[1200:])
model = nn.Linear(6, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(20):
    for rows, labels in DataLoader(train, batch_size=30, shuffle=True):
        optimizer.zero_grad()
        criterion(model(rows), labels).backward()
        optimizer.step()
    with torch.no_grad():
        test_loss = sum(criterion(model(r), t).item() for r, t in DataLoader(test, batch_size=100)) / 3
print(f"test loss {test_loss:.3f}, chance {math.log(2):.3f}")
