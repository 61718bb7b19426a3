# expect: loss-at-init
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
true = torch.randn(20, 10)
model = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 10))
nn.init.normal_(model[2].weight, std=5.0)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step in range(300):
    inputs = torch.randn(64, 20)
    labels = (inputs @ true).argmax(dim=1)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs), labels)
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step + 1}  loss {loss.item():.3f}")
