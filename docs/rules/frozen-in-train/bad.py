# expect: frozen-in-train
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

inputs = torch.randn(640, 16)
labels = (inputs[:, :4].sum(dim=1) > 0).long()
train, validation = torch.arange(512), torch.arange(512, 640)

model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def evaluate():
    model.eval()
    with torch.no_grad():
        return F.cross_entropy(model(inputs[validation]), labels[validation]).item()


model.train()
for epoch in range(10):
    for batch in train[torch.randperm(len(train))].split(32):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    print(f"epoch {epoch + 1}  validation loss {evaluate():.3f}")
