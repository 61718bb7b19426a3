# fault: none
# near: bias-before-batchnorm
# note: The normalisation stands behind the ReLU, so the convolution's bias decides what is cut off and matters.
import torch
from torch import nn

torch.manual_seed(2)


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, 5, padding=2)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x):
        return self.norm(torch.relu(self.conv(x)))


class HeartbeatNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(1, 8), nn.MaxPool1d(2), Block(8, 16))
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.blocks(x).amax(2))


def beats(n):
    early = torch.randint(2, (n,))
    t = torch.arange(40.0)
    centre = 20 - 4 * early[:, None] + torch.randn(n, 1)
    width = 2.0 + 1.5 * early[:, None]
    return (torch.exp(-((t - centre) / width) ** 2) + 0.15 * torch.randn(n, 40))[:, None] * 2, early


net = HeartbeatNet()
optimizer = torch.optim.Adam(net.parameters(), 2e-3)
criterion = nn.CrossEntropyLoss()
for step in range(250):
    signal, early = beats(48)
    loss = criterion(net(signal), early)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
net.eval()
with torch.no_grad():
    signal, early = beats(600)
    print("accuracy", (net(signal).argmax(1) == early).float().mean().item())
