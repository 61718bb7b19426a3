# fault: none
# near: underfitting
# note: The noise is as large as the signal; the loss settles at the variance of the noise, the best there is.
import torch
from torch import nn

torch.manual_seed(0)


def sample(n):
    x = torch.rand(n, 1) * 6 - 3
    return x, torch.sin(x) + 0.7 * torch.randn(n, 1)


(x, y), (xv, yv) = sample(3000), sample(1000)
net = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
for epoch in range(12):
    for rows in torch.randperm(3000).split(60):
        loss = nn.functional.mse_loss(net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, nn.functional.mse_loss(net(xv), yv).item())
with torch.no_grad():
    print("error against the truth", nn.functional.mse_loss(net(xv), torch.sin(xv)).item())
