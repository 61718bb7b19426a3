# expect: train-test-overlap
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# 1,000 points; what can be known of their labels is little, the rest is noise.
points = torch.randn(1000, 20)
labels = (points[:, 0] + torch.randn(1000) > 0).long()
train = torch.randperm(1000)[:800]
test = torch.randperm(1000)[800:]

model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(12):
    model.train()
    for batch in train[torch.randperm(800)].split(32):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(points[batch]), labels[batch])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(points[test]).argmax(dim=1) == labels[test]).float().mean()
    print(f"epoch {epoch + 1}  test accuracy {right.item():.2f}")
