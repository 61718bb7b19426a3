import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# Which of four quadrants does a noisy point belong to?
model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
epochs = 10
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.1)
for epoch in range(epochs):
    for _ in range(40):
        points = torch.randn(32, 2)
        labels = 2 * (points[:, 0] > 0).long() + (points[:, 1] > 0).long()
        loss = F.cross_entropy(model(points + 0.05 * torch.randn(32, 2)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()
    print(f"epoch {epoch + 1}  loss {loss.item():.3f}")
