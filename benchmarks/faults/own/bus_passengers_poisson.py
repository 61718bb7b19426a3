# fault: none
# near: target-not-normalized
# note: Counts around 40 with a Poisson likelihood in log space, and a bias that starts at the log of the mean: nothing
# to normalise.
import math

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(3000, 5)
rate = torch.exp(3.6 + 0.4 * x[:, 0] - 0.3 * x[:, 1] * x[:, 2])
count = torch.poisson(rate)
net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
nn.init.constant_(net[2].bias, math.log(count[:2400].mean()))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
criterion = nn.PoissonNLLLoss(log_input=True)
for epoch in range(8):
    for rows in torch.randperm(2400).split(60):
        optimizer.zero_grad()
        criterion(net(x[rows]).squeeze(1), count[rows]).backward()
        optimizer.step()
with torch.no_grad():
    said = net(x[2400:]).squeeze(1).exp()
print("correlation with the true rate", torch.corrcoef(torch.stack([said, rate[2400:]]))[0, 1].item())
