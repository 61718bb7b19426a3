# fault: none
# near: scheduler-before-optimizer
# note: GradScaler skips the first step, since its scale is still too high, so the schedule runs ahead of the optimizer
# by one; the order in the code is right.
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(7, 32), nn.SiLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=300)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
for step in range(300):
    x = torch.randn(64, 7)
    loss = nn.functional.mse_loss(net(x), 3 * x[:, :1].abs() + x[:, 1:2])
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    schedule.step()
print("loss", loss.item())
