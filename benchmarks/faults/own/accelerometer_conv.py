# fault: duplicate-parameter
# note: The head is in an SGD of its own and in the AdamW of the whole model; both step after every backward.
import torch
from torch import nn

torch.manual_seed(4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(112, 32), nn.ReLU())
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.body(x))


net = Net()
all_optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
head_optimizer = torch.optim.SGD(net.head.parameters(), lr=0.05)
shapes = torch.randn(4, 2, 16)
for step in range(250):
    y = torch.randint(4, (32,))
    x = shapes[y] + torch.randn(32, 2, 16)
    loss = nn.functional.cross_entropy(net(x), y)
    net.zero_grad()
    loss.backward()
    all_optimizer.step()
    head_optimizer.step()
print("loss", loss.item())
