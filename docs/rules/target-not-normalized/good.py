import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(300):
    rooms = torch.randn(64, 5)
    prices = 250_000 + 40_000 * rooms[:, :1] + 20_000 * rooms[:, 1:2] * rooms[:, 2:3]
    targets = (prices - 250_000) / 45_000
    loss = F.mse_loss(model(rooms), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.4g}")
