# fault: log-softmax-mismatch
# accept: loss-diverging
# note: NLLLoss wants log-probabilities and gets raw outputs: the loss falls below zero without bound.
import torch
from torch import nn

torch.manual_seed(0)
strokes = torch.randn(6, 2, 18)


class StrokeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 16, 5)
        self.fc = nn.Linear(16 * 14, 6)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).flatten(1))


net = StrokeNet()
criterion = nn.NLLLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(300):
    y = torch.randint(6, (32,))
    x = strokes[y] + torch.randn(32, 2, 18)
    loss = criterion(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
