# fault: none
# near: loss-at-init
# note: Summed over the batch, with class weights and label smoothing: the first loss is large as a number, and right.
import torch
from torch import nn

torch.manual_seed(0)
share = torch.tensor([0.6, 0.25, 0.1, 0.05])
prototypes = torch.randn(4, 15)


def batch(n):
    y = torch.multinomial(share, n, replacement=True)
    return prototypes[y] + torch.randn(n, 15), y


model = nn.Sequential(nn.Linear(15, 48), nn.ReLU(), nn.Linear(48, 4))
criterion = nn.CrossEntropyLoss(weight=1 / share, label_smoothing=0.1, reduction="sum")
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for step in range(300):
    x, y = batch(128)
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
x, y = batch(2000)
said = model(x).argmax(1)
print("recall per class", [round((said[y == k] == k).float().mean().item(), 3) for k in range(4)])
