# fault: none
# near: train-mode-in-eval
# note: Accuracy is measured in eval mode; then dropout alone is switched on again for many samples per input, as Monte
# Carlo dropout does.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
centres = 2 * torch.randn(4, 10)


def points(n):
    y = torch.randint(4, (n,))
    return TensorDataset(centres[y] + 1.5 * torch.randn(n, 10), y)


net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 4))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
train, test = DataLoader(points(1200), 40, shuffle=True), DataLoader(points(300), 50)
for epoch in range(6):
    net.train()
    for x, y in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        print(epoch, sum((net(x).argmax(1) == y).sum().item() for x, y in test) / 300)
for module in net.modules():
    if isinstance(module, nn.Dropout):
        module.train()
with torch.no_grad():
    entropies = []
    for x, _ in test:
        mean = torch.stack([net(x).softmax(1) for _ in range(20)]).mean(0)
        entropies.append(-(mean * mean.log()).sum(1).mean().item())
print("mean predictive entropy", sum(entropies) / len(entropies))
