# fault: train-test-overlap
# note: Training takes rows up to 800 and testing rows from 600: half of the test rows have been trained on.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(1000, 12)
y = (x @ torch.randn(12, 3) + 2 * torch.randn(1000, 3)).argmax(1)
train = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=32, shuffle=True)
test = DataLoader(TensorDataset(x[600:], y[600:]), batch_size=50)
model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(8):
    model.train()
    for rows, labels in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), labels).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(rows).argmax(1) == labels).sum().item() for rows, labels in test)
    print(epoch, right / 400)
