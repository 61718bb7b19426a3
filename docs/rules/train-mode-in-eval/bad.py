# expect: train-mode-in-eval
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

inputs = torch.randn(640, 16)
labels = (inputs[:, :4].sum(dim=1) > 0).long()
train, validation = torch.arange(512), torch.arange(512, 640)

model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def accuracy():
    correct = 0
    with torch.no_grad():
        for batch in validation.split(32):
            correct += (model(inputs[batch]).argmax(dim=1) == labels[batch]).sum().item()
    return correct / len(validation)


for epoch in range(10):
    model.train()
    for batch in train[torch.randperm(len(train))].split(32):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    print(f"epoch {epoch + 1}  accuracy {accuracy():.3f}")
