# expect: loss-broadcast
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(300):
    inputs = torch.randn(64, 4)
    targets = inputs[:, 0] - inputs[:, 1] * inputs[:, 2]
    outputs = model(inputs)  # [64, 1], and the targets are [64]
    loss = ((outputs - targets) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
