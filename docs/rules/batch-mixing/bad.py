# expect: batch-mixing
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(x)  # x is [examples, places, features]
        return self.head(states[:, -1])


torch.manual_seed(0)
x = torch.randn(512, 12, 8)
y = x[:, :, 0].sum(1).sign().long() + 1
model = Tagger()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(200):
    picked = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x[picked]), y[picked]).backward()
    optimizer.step()
