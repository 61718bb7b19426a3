# expect: duplicate-parameter
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# One trunk, two tasks: is the larger half of six numbers on the left, and what is their sum?
trunk = nn.Sequential(nn.Linear(6, 32), nn.ReLU())
side = nn.Linear(32, 1)
total = nn.Linear(32, 1)
optimizer_side = torch.optim.Adam([*trunk.parameters(), *side.parameters()], lr=0.003)
optimizer_total = torch.optim.Adam([*trunk.parameters(), *total.parameters()], lr=0.003)
for step in range(300):
    numbers = torch.randn(64, 6)
    features = trunk(numbers)
    left = (numbers[:, :3].sum(dim=1) > numbers[:, 3:].sum(dim=1)).float()
    loss = F.binary_cross_entropy_with_logits(side(features).squeeze(1), left)
    loss = loss + F.mse_loss(total(features).squeeze(1), numbers.sum(dim=1))
    optimizer_side.zero_grad()
    optimizer_total.zero_grad()
    loss.backward()
    optimizer_side.step()
    optimizer_total.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
