import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

points = torch.randn(600, 8)
labels = (points @ torch.randn(8, 4)).argmax(dim=1)

model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(15):
    order = torch.randperm(600)
    shuffled_points, shuffled_labels = points[order], labels[order]
    for start in range(0, 600, 30):
        optimizer.zero_grad()
        outputs = model(shuffled_points[start : start + 30])
        loss = F.cross_entropy(outputs, shuffled_labels[start : start + 30])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}  loss {loss.item():.3f}")
