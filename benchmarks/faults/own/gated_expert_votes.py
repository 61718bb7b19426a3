# fault: none
# near: double-sigmoid
# note: A sigmoid gate multiplies logits before BCEWithLogitsLoss: the loss still gets unbounded logits.
import torch
from torch import nn

torch.manual_seed(9)


class GatedVotes(nn.Module):
    def __init__(self, inputs=16, experts=4):
        super().__init__()
        self.gate = nn.Linear(inputs, experts)
        self.votes = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, experts))

    def forward(self, x):
        return (torch.sigmoid(self.gate(x)) * self.votes(x)).sum(1)


model = GatedVotes()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
criterion = nn.BCEWithLogitsLoss()
for step in range(400):
    x = torch.randn(64, 16)
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).float()
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
x = torch.randn(1000, 16)
print("accuracy", ((model(x) > 0) == ((x[:, 0] > 0) ^ (x[:, 1] > 0))).float().mean().item())
