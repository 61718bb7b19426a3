# fault: dropout-too-high
# accept: underfitting
# note: 0.9 was meant as the share that is kept; nn.Dropout takes the share that is dropped.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
KEEP = 0.9
x = torch.randn(3000, 20)
y = (x @ torch.randn(20, 6)).argmax(1)
model = nn.Sequential(
    nn.Linear(20, 48), nn.ReLU(), nn.Dropout(KEEP),
    nn.Linear(48, 48), nn.ReLU(), nn.Dropout(KEEP),
    nn.Linear(48, 6),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
train = DataLoader(TensorDataset(x[:2400], y[:2400]), batch_size=40, shuffle=True)
for epoch in range(6):
    model.train()
    for rows, labels in train:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(rows), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        valid = nn.functional.cross_entropy(model(x[2400:]), y[2400:])
    print(f"epoch {epoch}: train {loss.item():.3f}, valid {valid.item():.3f}")
