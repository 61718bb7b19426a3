# expect: wrong-softmax-dim
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(600, 20)
y = x[:, :4].argmax(1)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4), nn.LogSoftmax(dim=0))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(200):
    picked = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.nll_loss(model(x[picked]), y[picked]).backward()
    optimizer.step()
