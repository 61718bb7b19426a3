# fault: none
# near: output-activation-mismatch
# note: tanh outputs for commands that lie within -1 and 1.
import torch
from torch import nn

torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 2), nn.Tanh())
optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
gain = torch.randn(6, 2) / 2
for step in range(400):
    state = torch.randn(64, 6)
    command = (state @ gain).clamp(-0.95, 0.95)
    loss = nn.functional.mse_loss(policy(state), command)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("error", loss.item())
