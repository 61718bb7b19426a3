# fault: train-mode-in-eval
# note: F.dropout is called without `training=self.training`, so it is active in evaluation whatever eval() says.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)


class WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(13, 64), nn.Linear(64, 3)

    def forward(self, x):
        return self.fc2(F.dropout(F.relu(self.fc1(x)), p=0.5))


x = torch.randn(1500, 13)
y = (x @ torch.randn(13, 3) + torch.randn(1500, 3)).argmax(1)
net = WineNet()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(8):
    net.train()
    for rows in torch.randperm(1200).split(30):
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    net.eval()
    with torch.inference_mode():
        print(epoch, (net(x[1200:]).argmax(1) == y[1200:]).float().mean().item())
