# fault: none
# near: lr-zero
# note: Two networks, one with OneCycleLR down to a hundred-thousandth of its peak, one with warm restarts that touch
# zero every 60 steps; both per batch, as meant.
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, OneCycleLR

torch.manual_seed(1)
STEPS = 300


def fit(make_schedule):
    net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    schedule = make_schedule(optimizer)
    for _ in range(STEPS):
        x = torch.randn(64, 8)
        loss = nn.functional.mse_loss(net(x), torch.sin(2 * x[:, :1]) + x[:, 1:2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()


print("one cycle", fit(lambda o: OneCycleLR(o, max_lr=0.1, total_steps=STEPS)))
print("restarts", fit(lambda o: CosineAnnealingWarmRestarts(o, T_0=60)))
