# fault: double-sigmoid
# note: forward ends in a sigmoid and BCEWithLogitsLoss applies another.
import torch
from torch import nn

torch.manual_seed(1)


class AnomalyFlag(nn.Module):
    """Says whether a window of pump pressure holds a spike."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 24, batch_first=True)
        self.head = nn.Linear(24, 1)

    def forward(self, window):
        states, _ = self.lstm(window)
        return torch.sigmoid(self.head(states.mean(1))).flatten()


def windows(n):
    x = 0.3 * torch.randn(n, 20, 1)
    spike = torch.rand(n) < 0.5
    where = torch.randint(20, (n,))
    x[torch.arange(n), where, 0] += 3.0 * spike
    return x, spike.float()


model = AnomalyFlag()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
for step in range(250):
    x, spike = windows(64)
    loss = criterion(model(x), spike)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
