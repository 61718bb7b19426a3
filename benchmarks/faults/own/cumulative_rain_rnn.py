# fault: loss-broadcast
# accept: underfitting, constant-output, loss-not-decreasing
# note: Predictions of shape (batch, time, 1) minus targets of shape (batch, time), by hand: the difference is
# (batch, batch or time, time) by broadcasting.
import torch
from torch import nn

torch.manual_seed(2)
BATCH = TIME = 16
rnn, head = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)
optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=3e-3)
for step in range(300):
    rain = torch.rand(BATCH, TIME)
    total = rain.cumsum(1) / 4
    hidden, _ = rnn(rain.unsqueeze(2))
    error = head(hidden) - total
    loss = torch.sqrt((error ** 2).mean())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("RMSE", loss.item())
