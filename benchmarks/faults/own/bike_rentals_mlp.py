# fault: loss-broadcast
# accept: underfitting, constant-output, loss-not-decreasing
# note: The model's (N, 1) meets targets of shape (N,) in mse_loss: each output is compared with each target.
import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
torch.manual_seed(0)
hour = torch.rand(1500, 1) * 24
warm = torch.randn(1500, 1)
features = torch.cat([torch.sin(hour / 24 * 6.283), torch.cos(hour / 24 * 6.283), warm], 1)
rentals = (2 * features[:, 0] + features[:, 1] * warm[:, 0] + warm[:, 0] + 0.1 * torch.randn(1500)) / 2
train = DataLoader(TensorDataset(features[:1200], rentals[:1200]), batch_size=40, shuffle=True)
model = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.MSELoss()
for epoch in range(12):
    for x, y in train:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    print("test R2", 1 - ((model(features[1200:]).squeeze(1) - rentals[1200:]).pow(2).mean() / rentals.var()).item())
