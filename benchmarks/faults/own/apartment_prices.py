# fault: target-not-normalized
# accept: loss-at-init, underfitting, update-too-small
# note: Prices of about 250000 straight into mse_loss with Adam at 1e-3: after the whole training the outputs are still
# near zero.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
features = torch.randn(1500, 8)
price = 250_000 + 40_000 * features[:, 0] + 15_000 * features[:, 1] * features[:, 2]
train = DataLoader(TensorDataset(features[:1200], price[:1200].unsqueeze(1)), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(10):
    for x, y in train:
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    error = (model(features[1200:]).squeeze(1) - price[1200:]).abs().mean()
print(f"mean error {error:.0f}")
