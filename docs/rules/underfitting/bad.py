# expect: underfitting
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

inputs = torch.randn(5000, 10)
labels = (inputs[:, 0] * inputs[:, 1] + 0.3 * inputs[:, 2] > 0).long()
model = nn.Linear(10, 2)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(10):
    model.train()
    for rows in torch.randperm(4000).split(50):
        loss = F.cross_entropy(model(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = F.cross_entropy(model(inputs[4000:]), labels[4000:])
    print(f"epoch {epoch + 1}  val loss {val_loss.item():.3f}")
