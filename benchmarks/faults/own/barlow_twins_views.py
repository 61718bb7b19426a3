# fault: none
# near: batch-mixing
# note: Barlow Twins correlates embeddings over the batch: the loss mixes examples by design, the encoder does not.
import torch
from torch import nn

torch.manual_seed(0)
basis = torch.randn(8, 40)


def views(n):
    clean = torch.randn(n, 8) @ basis / 3
    return clean + 0.5 * torch.randn(n, 40), clean + 0.5 * torch.randn(n, 40)


encoder = nn.Sequential(nn.Linear(40, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 16))
optimizer = torch.optim.Adam(encoder.parameters(), lr=2e-3)
for step in range(300):
    first, second = (encoder(view) for view in views(128))
    first, second = ((z - z.mean(0)) / (z.std(0) + 1e-6) for z in (first, second))
    correlation = first.T @ second / len(first)
    on = (correlation.diagonal() - 1).square().sum()
    off = correlation.square().sum() - correlation.diagonal().square().sum()
    loss = on + 0.02 * off
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("on the diagonal", correlation.diagonal().mean().item(), "loss", loss.item())
