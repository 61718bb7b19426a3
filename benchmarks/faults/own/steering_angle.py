# fault: output-activation-mismatch
# accept: underfitting, saturated-units, target-not-normalized, constant-output, loss-not-decreasing
# note: The network ends in tanh and the targets are angles between 10 and 30 degrees.
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1), nn.Tanh())
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for step in range(300):
    camera = torch.randn(64, 8)
    angle = 20 + 5 * torch.tanh(camera[:, 0] - camera[:, 1])
    loss = nn.functional.l1_loss(model(camera).squeeze(1), angle)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("mean error in degrees", loss.item())
