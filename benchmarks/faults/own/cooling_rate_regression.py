# fault: scheduler-before-optimizer
# note: schedule.step() stands before optimizer.step() in the loop, so the first rate of the schedule is never used.
import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore")
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(7, 32), nn.SiLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.8)
for epoch in range(10):
    schedule.step()
    for _ in range(30):
        x = torch.randn(32, 7)
        loss = nn.functional.mse_loss(net(x), x[:, :1].abs() + x[:, 1:2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("loss", loss.item())
