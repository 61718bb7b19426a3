# fault: unregistered-module
# accept: parameter-not-updated
# note: Block does not derive from nn.Module, so the layers inside it are unknown to the model and stay as they are.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class Block:
    def __init__(self, width):
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def __call__(self, x):
        return x + torch.relu(self.linear(self.norm(x)))


class ResidualNet(nn.Module):
    def __init__(self, inputs, width, classes):
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.first, self.second = Block(width), Block(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.second(self.first(self.stem(x))))


x = torch.randn(1600, 10)
y = (x[:, 0] > 0).long() + (x[:, 1] * x[:, 2] > 0).long()
model = ResidualNet(10, 32, 3)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
for epoch in range(6):
    for rows, labels in DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(rows), labels)
        loss.backward()
        optimizer.step()
print("loss", loss.item())
