import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

true_weight = torch.randn(20, 1)
model = nn.Linear(20, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
for step in range(300):
    x = torch.randn(32, 20)
    y = x @ true_weight + 1 + 0.5 * torch.randn(32, 1)
    loss = F.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
