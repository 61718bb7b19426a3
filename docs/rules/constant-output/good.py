import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


class Network(nn.Module):
    """Guesses the largest of eight numbers."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 64)
        self.output = nn.Linear(64, 1)

    def forward(self, numbers):
        numbers = numbers - numbers.mean(dim=1, keepdim=True)
        return self.output(torch.tanh(self.hidden(numbers)))


model = Network()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(300):
    numbers = torch.randn(64, 8)
    largest = numbers.amax(dim=1, keepdim=True)
    loss = F.mse_loss(model(numbers), largest)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
