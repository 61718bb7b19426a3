# expect: vanishing-gradient
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


class DeepNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 32)
        self.hidden = nn.ModuleList(nn.Linear(32, 32) for _ in range(6))
        self.last = nn.Linear(32, 3)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        for layer in self.hidden:
            x = torch.sigmoid(layer(x))
        return self.last(x)


centers = torch.randn(3, 20)
model = DeepNet()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
for step in range(300):
    labels = torch.randint(3, (64,))
    inputs = centers[labels] + 2 * torch.randn(64, 20)
    loss = F.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
