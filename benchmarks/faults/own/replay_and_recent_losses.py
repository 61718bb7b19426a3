# fault: none
# near: memory-growth
# note: A deque of the last 20 loss tensors and a replay buffer of detached states: what is kept is bounded or without
# graph.
import collections
import random

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
random.seed(0)
world = torch.randn(5, 4) / 2
model = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
recent = collections.deque(maxlen=20)
buffer, losses = [], []
state = torch.zeros(4)
for step in range(500):
    action = torch.randn(1)
    inputs = torch.cat([state, action])
    state = torch.tanh(inputs @ world) + 0.02 * torch.randn(4)
    buffer.append((inputs, state))
    if len(buffer) < 40:
        continue
    x, y = (torch.stack(part) for part in zip(*random.sample(buffer, 32)))
    loss = F.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    recent.append(loss)
    losses.append(loss.detach())
print(f"first {losses[0]:.4f}, recent {torch.stack(list(recent)).mean():.5f}")
