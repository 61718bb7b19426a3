import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 2))
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(300):
    joints = torch.randn(64, 6)
    targets = torch.stack([joints[:, 0] - joints[:, 1], 2 * joints[:, 2].sin()], dim=1)
    loss = criterion(model(joints), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
