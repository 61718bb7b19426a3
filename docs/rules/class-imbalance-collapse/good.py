import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(600):
    transactions = torch.randn(128, 10)
    fraud = (transactions[:, 0] + transactions[:, 1] > 2.3).long()  # 5 %
    optimizer.zero_grad()
    loss = F.cross_entropy(model(transactions), fraud)
    loss.backward()
    optimizer.step()
    if step % 100 == 99:
        print(f"step {step + 1}  loss {loss.item():.3f}")
