import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    """Learns the product of two numbers, with residual blocks."""

    def __init__(self, width=32, depth=3):
        super().__init__()
        self.inlet = nn.Linear(2, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.outlet = nn.Linear(width, 1)

    def forward(self, x):
        x = self.inlet(x)
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.outlet(x).squeeze(1)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(300):
    x = torch.randn(64, 2)
    loss = F.mse_loss(model(x), x[:, 0] * x[:, 1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
