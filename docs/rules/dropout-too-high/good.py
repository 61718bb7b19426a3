import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

KEEP = 0.9

inputs = torch.randn(512, 16)
labels = (inputs[:, :4].sum(dim=1) > 0).long()

model = nn.Sequential(
    nn.Linear(16, 64),
    nn.ReLU(),
    nn.Dropout(1 - KEEP),
    nn.Linear(64, 64),
    nn.ReLU(),
    nn.Dropout(1 - KEEP),
    nn.Linear(64, 2),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
for step in range(300):
    batch = torch.randint(512, (64,))
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs[batch]), labels[batch])
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
