# fault: none
# near: dead-units
# note: A sparse autoencoder that keeps 6 of 64 units per example: nine in ten are zero each time, but all take turns.
import torch
from torch import nn

torch.manual_seed(0)
ATOMS, WIDTH, K = 40, 64, 6
atoms = nn.functional.normalize(torch.randn(ATOMS, 32), dim=1)


def signals(n):
    code = torch.rand(n, ATOMS) * (torch.rand(n, ATOMS) < 0.08)
    return 2 * code @ atoms


class TopK(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(32, WIDTH), nn.Linear(WIDTH, 32)

    def forward(self, x):
        code = torch.relu(self.encode(x))
        kept = code.topk(K, dim=1)
        return self.decode(torch.zeros_like(code).scatter(1, kept.indices, kept.values))


model = TopK()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for step in range(500):
    x = signals(128)
    loss = nn.functional.mse_loss(model(x), x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print("share of variance left", sum(losses[-50:]) / 50 / signals(4000).var().item())
