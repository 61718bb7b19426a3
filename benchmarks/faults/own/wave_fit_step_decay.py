# fault: lr-zero
# accept: underfitting, update-too-small
# note: StepLR(step_size=1, gamma=0.5) is meant per epoch and stepped per batch: the rate has halved thirty times within
# the first epoch.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
x = torch.randn(1200, 8)
y = torch.sin(2 * x[:, :1]) + x[:, 1:2]
loader = DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)
net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
for epoch in range(10):
    total = 0.0
    for rows, target in loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(rows), target)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    print(epoch, total / len(loader))
