# fault: labels-misaligned
# accept: loss-not-decreasing, label-noise, overfitting, underfitting, constant-output
# note: The files are read in the order of their names ("r10" before "r2") and the labels in the order of the numbers.
import torch
from torch import nn

torch.manual_seed(1)
COUNT = 900
true = torch.randint(3, (COUNT,))
readings = {f"r{i}": torch.randn(16) + 1.5 * torch.eye(3, 16)[true[i]] for i in range(COUNT)}
x = torch.stack([readings[name] for name in sorted(readings)])
y = true

train = torch.arange(COUNT) % 5 != 0
model = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
index = train.nonzero().flatten()
for epoch in range(12):
    for rows in index[torch.randperm(len(index))].split(24):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
with torch.no_grad():
    print("accuracy", (model(x[~train]).argmax(1) == y[~train]).float().mean().item())
