# fault: data-not-shuffled
# note: The table is sorted by species and the loader does not shuffle: each batch holds one species.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
centres = torch.randn(6, 10)
species = torch.arange(6).repeat_interleave(150)
leaves = centres[species] + 1.2 * torch.randn(900, 10)
held_out = torch.arange(900) % 5 == 0
train = TensorDataset(leaves[~held_out], species[~held_out])

model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 6))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(10):
    for x, y in DataLoader(train, batch_size=20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (model(leaves[held_out]).argmax(1) == species[held_out]).float().mean()
print(f"accuracy {accuracy:.3f}")
