import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# Two views of a point are brought together, measured by their distance; one pair in eight is a point with itself.
encoder = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(encoder.parameters(), lr=0.05)
scaler = torch.amp.GradScaler("cpu")
for step in range(200):
    points = torch.randn(64, 6)
    others = points + 0.3 * torch.randn(64, 6)
    others[:8] = points[:8]
    left, right = encoder(points), encoder(others)
    distance = (left - right).square().sum(dim=1).add(1e-12).sqrt()
    loss = distance.mean() + F.mse_loss(left, points[:, :2])
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}  scale {scaler.get_scale():.3g}")
