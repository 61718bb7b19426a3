# fault: label-noise
# accept: overfitting
# note: The species of 30 % of the rows come from a file in another order: about 24 % of all labels are wrong.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
typical = 3 * torch.randn(5, 12)
species = torch.randint(0, 5, (2400,))
leaves = typical[species] + torch.randn(2400, 12)
second_camera = torch.rand(2400) < 0.3
noted = species.clone()
noted[second_camera] = species[second_camera].flip(0)

loader = DataLoader(TensorDataset(leaves, noted), batch_size=48, shuffle=True)
model = nn.Sequential(nn.Linear(12, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(10):
    total = 0.0
    for measured, labels in loader:
        loss = criterion(model(measured), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    print(f"epoch {epoch + 1}: loss {total / 2400:.3f}")
