# fault: clip-always-active
# accept: update-too-small, underfitting, loss-not-decreasing
# note: max_norm is 0.01 where gradients of this summed loss have norms around a hundred: every step is cut by four
# orders of magnitude.
import torch
from torch import nn

torch.manual_seed(8)
x = torch.rand(2000, 6) * 2 - 1
y = torch.sin(3 * x[:, :1]) * x[:, 1:2] + x[:, 2:3] ** 2 - 0.4
net = nn.Sequential(nn.Linear(6, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
mse = nn.MSELoss(reduction="sum")
for epoch in range(10):
    for batch in torch.randperm(1600).split(50):
        optimizer.zero_grad()
        loss = mse(net(x[batch]), y[batch])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.01)
        optimizer.step()
with torch.no_grad():
    print("variance explained", 1 - ((net(x[1600:]) - y[1600:]).pow(2).mean() / y.var()).item())
