# fault: none
# near: label-noise
# note: Five species with overlapping measurements: a quarter of them cannot be told apart, and nobody mislabelled any.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(8)
species = torch.randint(0, 5, (3000,))
typical = 1.9 * torch.eye(5, 8)
measured = typical[species] + torch.randn(3000, 8)
loader = DataLoader(TensorDataset(measured[:2400], species[:2400]), batch_size=48, shuffle=True)

model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
criterion = nn.CrossEntropyLoss()
for epoch in range(12):
    for batch, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(batch), targets)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        held_out = criterion(model(measured[2400:]), species[2400:]).item()
    print(f"epoch {epoch + 1}: held out {held_out:.3f}")
