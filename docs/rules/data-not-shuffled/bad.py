# expect: data-not-shuffled
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# 1,200 points around six centres, stored class by class.
labels = torch.arange(6).repeat_interleave(200)
points = torch.randn(6, 20)[labels] + torch.randn(1200, 20)

model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 6))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(8):
    order = torch.arange(len(points))
    for batch in order.split(32):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(points[batch]), labels[batch])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (model(points).argmax(dim=1) == labels).float().mean()
    print(f"epoch {epoch + 1}  last loss {loss.item():.3f}  accuracy {right.item():.2f}")
