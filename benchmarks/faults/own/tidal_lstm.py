# fault: symmetric-init
# accept: underfitting
# note: The LSTM's matrices are filled with one constant, so its 16 units are copies of one another for good.
import math

import torch
from torch import nn

torch.manual_seed(0)


class TideModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 16, batch_first=True)
        self.head = nn.Linear(16, 1)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.constant_(parameter, 0.05)
            else:
                nn.init.zeros_(parameter)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


t = torch.arange(3000) / 10
tide = torch.sin(t) + 0.5 * torch.sin(t * math.sqrt(5)) + 0.05 * torch.randn(3000)
model = TideModel()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for step in range(200):
    start = torch.randint(0, 2970, (32,)).tolist()
    window = torch.stack([tide[s:s + 25] for s in start])
    loss = nn.functional.mse_loss(model(window[:, :-1, None]), window[:, -1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("error", loss.item())
