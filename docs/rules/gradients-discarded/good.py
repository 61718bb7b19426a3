import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# The area under a random parabola, from its three coefficients; batches are split into four micro-batches.
model = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
parts = 4
for step in range(200):
    total = 0.0
    optimizer.zero_grad()
    for _ in range(parts):
        coefficients = torch.randn(16, 3)
        area = coefficients @ torch.tensor([[1 / 3], [1 / 2], [1.0]])
        loss = F.mse_loss(model(coefficients), area) / parts
        loss.backward()
        total += loss.item()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {total:.4f}")
