# expect: loss-not-decreasing
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

inputs = torch.randn(20_000, 10)
labels = (inputs @ torch.randn(10) + 0.5 * torch.randn(20_000) > 0).long()
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
for step in range(300):
    rows = torch.randint(20_000, (64,))
    x = inputs[rows]
    y = labels[torch.randint(20_000, (64,))]
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
