# expect: double-sigmoid
import torch
from torch import nn

torch.manual_seed(0)


class Detector(nn.Module):
    """Says whether two of 16 numbers have the same sign."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, numbers):
        return torch.sigmoid(self.body(numbers)).squeeze(1)


model = Detector()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(300):
    numbers = torch.randn(64, 16)
    labels = (numbers[:, 0] * numbers[:, 1] > 0).float()
    optimizer.zero_grad()
    loss = criterion(model(numbers), labels)
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
