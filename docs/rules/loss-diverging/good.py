import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

centers = torch.randn(5, 20)
model = nn.Linear(20, 5)
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
for step in range(300):
    labels = torch.randint(5, (64,))
    inputs = centers[labels] + 2 * torch.randn(64, 20)
    loss = F.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
