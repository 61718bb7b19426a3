# fault: input-not-normalized
# accept: loss-at-init, underfitting, update-too-small
# note: Five columns between 0.01 and 20000, none standardised: the network sees little but the largest one.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
units = torch.tensor([0.01, 1.0, 50.0, 1000.0, 20000.0])
z = torch.randn(1000, 5)
table = (z + 1) * units
strength = z @ torch.tensor([1.0, -1.0, 0.5, 0.8, 0.3]) + 0.1 * torch.randn(1000)
strength = ((strength - strength.mean()) / strength.std()).unsqueeze(1)


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 32), nn.Linear(32, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


model = Regressor()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(20):
    for rows, target in DataLoader(TensorDataset(table[:800], strength[:800]), batch_size=32, shuffle=True):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(rows), target).backward()
        optimizer.step()
with torch.no_grad():
    print("test error", nn.functional.mse_loss(model(table[800:]), strength[800:]).item())
