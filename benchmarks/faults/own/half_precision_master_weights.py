# fault: loss-scale-underflow
# accept: nan-or-inf, exploding-gradient, input-not-normalized, update-too-large, loss-not-decreasing
# note: The activations of a half-precision model overflow in every forward pass, so GradScaler skips every step and
# halves its scale down to nothing. (Inputs in the thousands bring the overflow about.)
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1)).half()
master = [p.detach().float().requires_grad_() for p in net.parameters()]
optimizer = torch.optim.SGD(master, lr=0.01)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
for step in range(150):
    x = 4000 * torch.randn(32, 10)
    y = x[:, :1] - x[:, 1:2]
    out = net(x.half()).float()
    loss = (out - y).square().mean()
    net.zero_grad()
    scaler.scale(loss).backward()
    for half, full in zip(net.parameters(), master):
        full.grad = half.grad.float()
    scaler.step(optimizer)
    scaler.update()
    with torch.no_grad():
        for half, full in zip(net.parameters(), master):
            half.copy_(full)
print("scale", scaler.get_scale(), "loss", loss.item())
