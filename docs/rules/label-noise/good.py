import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

centres = 4 * torch.randn(4, 8)
labels = torch.randint(4, (1200,))
points = centres[labels] + torch.randn(1200, 8)

model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(10):
    for rows in torch.randperm(1200).split(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(points[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}  loss {loss.item():.3f}")
