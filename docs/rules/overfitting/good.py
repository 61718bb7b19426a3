import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

inputs = torch.randn(2100, 20)
labels = (inputs[:, 0] + inputs[:, 1] + torch.randn(2100) > 0).long()
train_inputs, train_labels = inputs[:2000], labels[:2000]
model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(6):
    model.train()
    for rows in torch.randperm(len(train_inputs)).split(50):
        loss = F.cross_entropy(model(train_inputs[rows]), train_labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = F.cross_entropy(model(inputs[2000:]), labels[2000:])
    print(f"epoch {epoch + 1}  val loss {val_loss.item():.3f}")
