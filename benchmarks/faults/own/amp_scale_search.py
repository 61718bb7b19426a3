# fault: none
# near: loss-scale-underflow
# note: The scaler starts far too high and skips its first steps, grows again every 40 steps and skips one now and then,
# as dynamic scaling does; the schedule is stepped only when the optimizer was.
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 3))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=40)
mixing = torch.randn(10, 3)
skipped = 0
for step in range(300):
    x = torch.randn(64, 10)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), (x @ mixing).argmax(1))
    scaler.scale(50 * loss).backward()
    scaler.unscale_(optimizer)
    for parameter in net.parameters():
        parameter.grad /= 50
    before = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    if scaler.get_scale() < before:
        skipped += 1
    else:
        schedule.step()
print(f"loss {loss.item():.4f}, skipped {skipped}")
