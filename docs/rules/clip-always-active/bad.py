# expect: clip-always-active
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# Sums of eight numbers; the loss is the sum over the batch.
model = nn.Sequential(nn.Linear(8, 32), nn.Softplus(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
for step in range(200):
    numbers = torch.randn(64, 8)
    loss = F.mse_loss(model(numbers).squeeze(1), numbers.sum(dim=1), reduction="sum")
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item() / 64:.4f}")
