# fault: none
# near: constant-output
# note: The new head starts at zero, so the first outputs are the same for all inputs; a few steps later they are not.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
mixing = torch.randn(18, 9)
body = nn.Sequential(nn.Linear(18, 96), nn.ReLU())


def train(model, targets, steps, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        x = torch.randn(64, 18)
        loss = F.cross_entropy(model(x), targets(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


print("nine classes", train(nn.Sequential(body, nn.Linear(96, 9)), lambda x: (x @ mixing).argmax(1), 250, 3e-3))
head = nn.Linear(96, 2)
nn.init.zeros_(head.weight)
nn.init.zeros_(head.bias)
print("two classes", train(nn.Sequential(body, head), lambda x: (x[:, 0] > x[:, 1]).long(), 250, 1e-3))
