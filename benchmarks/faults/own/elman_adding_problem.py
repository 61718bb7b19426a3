# fault: exploding-gradient
# accept: loss-at-init, loss-diverging, update-too-large, nan-or-inf
# note: ReLU recurrence started at twice an orthogonal matrix: over 40 steps states and gradients grow by many orders
# of magnitude.
import torch
from torch import nn

torch.manual_seed(0)
STEPS, WIDTH = 40, 32


def adding(n):
    values = torch.rand(n, STEPS)
    marks = torch.zeros(n, STEPS)
    for row in marks:
        row[torch.randperm(STEPS)[:2]] = 1
    return torch.stack([values, marks], 2), (values * marks).sum(1, keepdim=True)


rnn = nn.RNN(2, WIDTH, nonlinearity="relu", batch_first=True)
head = nn.Linear(WIDTH, 1)
with torch.no_grad():
    nn.init.orthogonal_(rnn.weight_hh_l0, gain=2.0)
optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-3)
for step in range(250):
    x, y = adding(32)
    loss = nn.functional.mse_loss(head(rnn(x)[0][:, -1]), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(step, loss.item())
print("error", loss.item())
