# expect: exploding-gradient
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# Read 30 numbers one by one, then say their sum.
rnn = nn.RNN(1, 32, batch_first=True)
head = nn.Linear(32, 1)
nn.init.orthogonal_(rnn.weight_hh_l0, gain=3.0)
optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.01)
for step in range(400):
    numbers = torch.randn(32, 30, 1)
    sums = numbers.sum(dim=1) / 30**0.5
    _, last = rnn(numbers)
    loss = F.mse_loss(head(last[0]), sums)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
