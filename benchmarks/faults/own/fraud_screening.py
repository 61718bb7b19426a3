# fault: class-imbalance-collapse
# accept: underfitting, constant-output, loss-not-decreasing
# note: 4 % of the payments are fraud and nothing balances them: with this learning rate the network only learns the
# base rate and flags nobody. With both classes sampled alike it finds nine out of ten.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(6000, 8)
score = x[:, 0] * x[:, 1] + x[:, 2].abs() + 0.3 * torch.randn(6000)
y = (score > score.quantile(0.96)).float()
train = DataLoader(TensorDataset(x[:5000], y[:5000]), batch_size=64, shuffle=True)

model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(8):
    for features, fraud in train:
        optimizer.zero_grad()
        loss = criterion(model(features).squeeze(1), fraud)
        loss.backward()
        optimizer.step()
with torch.no_grad():
    flagged = model(x[5000:]).squeeze(1) > 0
print(f"accuracy {(flagged == y[5000:].bool()).float().mean():.3f}, flagged {int(flagged.sum())} of {int(y[5000:].sum())}")
