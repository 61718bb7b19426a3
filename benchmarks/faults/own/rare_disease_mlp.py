# fault: train-test-overlap
# accept: overfitting
# note: The rare class is copied eight times before the random split, so most of its test rows are in the training set
# as well.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(3)
x = torch.randn(1000, 10)
y = (x[:, 0] + x[:, 1] + 1.5 * torch.randn(1000) > 2.6).float()
rare = y.bool()
x = torch.cat([x[~rare], x[rare].repeat(8, 1)])
y = torch.cat([y[~rare], y[rare].repeat(8)])
train, test = random_split(TensorDataset(x, y), [0.8, 0.2])
model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(8):
    for rows, labels in DataLoader(train, batch_size=32, shuffle=True):
        optimizer.zero_grad()
        criterion(model(rows).squeeze(1), labels).backward()
        optimizer.step()
    with torch.no_grad():
        right = sum(((model(r).squeeze(1) > 0) == t.bool()).sum().item() for r, t in DataLoader(test, batch_size=64))
    print(epoch, right / len(test))
