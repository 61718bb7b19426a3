# fault: none
# near: loss-broadcast
# note: Three quantiles per example, (N, 3), against one target each, (N, 1): the broadcasting is meant.
import torch
from torch import nn

torch.manual_seed(1)
QUANTILES = torch.tensor([0.1, 0.5, 0.9])
net = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 3))
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)


def demand(n):
    x = torch.rand(n, 2) * 2 - 1
    return x, 2 * x[:, :1] + (0.3 + 0.5 * x[:, 1:].abs()) * torch.randn(n, 1)


for step in range(500):
    x, y = demand(64)
    error = y - net(x)
    loss = torch.maximum(QUANTILES * error, (QUANTILES - 1) * error).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
x, y = demand(4000)
print("share below each quantile", (y < net(x)).float().mean(0).tolist())
