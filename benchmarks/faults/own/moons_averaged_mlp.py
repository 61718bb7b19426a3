# fault: ema-stale
# note: The moving average goes over parameters() only: the copy keeps the running statistics of its batch norms as they
# were before training, and is judged with them.
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = 2 * torch.randn(1500, 6) + 1
y = (x[:, 0] * x[:, 1] > 1).long()
train = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=40, shuffle=True)
model = nn.Sequential(
    nn.Linear(6, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(),
    nn.Linear(32, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2),
)
average = copy.deepcopy(model).requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def accuracy(network):
    network.eval()
    with torch.no_grad():
        return (network(x[1200:]).argmax(1) == y[1200:]).float().mean().item()


for epoch in range(8):
    model.train()
    for rows, labels in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), labels).backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters()):
                slow.mul_(0.95).add_(fast, alpha=0.05)
    print(epoch, "model", accuracy(model), "average", accuracy(average))
