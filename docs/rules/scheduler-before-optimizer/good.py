import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# The distance of two points in the plane.
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=200)
for step in range(200):
    pairs = torch.randn(64, 4)
    distance = (pairs[:, :2] - pairs[:, 2:]).norm(dim=1)
    loss = F.mse_loss(model(pairs).squeeze(1), distance)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.4f}")
