# fault: wrong-softmax-dim
# accept: log-softmax-mismatch, batch-mixing
# note: LogSoftmax(dim=0) at the end of the model: log-probabilities over the batch, with NLLLoss behind.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
x = torch.randn(1600, 14)
y = (x @ torch.randn(14, 4)).argmax(1)


class RockNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(14, 32), nn.Tanh(), nn.Linear(32, 4))
        self.normalise = nn.LogSoftmax(dim=0)

    def forward(self, x):
        return self.normalise(self.layers(x))


net = RockNet()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
criterion = nn.NLLLoss()
for epoch in range(6):
    for rows, labels in DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True):
        optimizer.zero_grad()
        loss = criterion(net(rows), labels)
        loss.backward()
        optimizer.step()
print("loss", loss.item())
