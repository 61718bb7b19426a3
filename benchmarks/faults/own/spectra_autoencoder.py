# fault: output-activation-mismatch
# accept: underfitting, dead-units
# note: The decoder ends in a ReLU and the standardised spectra are negative half of the time.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
spectra = torch.randn(2000, 4) @ torch.randn(4, 30)
spectra = (spectra - spectra.mean(0)) / spectra.std(0)


class SpectraCoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 4))
        self.decode = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 30), nn.ReLU())

    def forward(self, x):
        return self.decode(self.encode(x))


coder = SpectraCoder()
optimizer = torch.optim.Adam(coder.parameters(), lr=2e-3)
for epoch in range(8):
    for (x,) in DataLoader(TensorDataset(spectra), batch_size=50, shuffle=True):
        loss = nn.functional.mse_loss(coder(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("reconstruction error", loss.item())
