# fault: train-mode-in-eval
# note: The accuracy on the test set is measured without eval(): dropout is active and batch statistics are used.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
calls = torch.randn(5, 1, 32)


def recordings(n):
    y = torch.randint(5, (n,))
    return TensorDataset(calls[y] + 1.2 * torch.randn(n, 1, 32), y)


net = nn.Sequential(
    nn.Conv1d(1, 16, 5, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Flatten(), nn.Dropout(0.4), nn.Linear(448, 5)
)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
train, test = DataLoader(recordings(1000), 40, shuffle=True), DataLoader(recordings(250), 50)
for epoch in range(6):
    for x, y in train:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    right = 0
    with torch.no_grad():
        for x, y in test:
            right += (net(x).argmax(1) == y).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {right / 250:.3f}")
