import copy

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x = torch.randn(400, 2)
y = torch.sin(2 * x[:, 0]) * x[:, 1]
train_x, train_y, test_x, test_y = x[:300], y[:300], x[300:], y[300:]

model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
best_loss, best_state = float("inf"), None
for epoch in range(20):
    for rows in torch.randperm(300).split(20):
        optimizer.zero_grad()
        F.mse_loss(model(train_x[rows]).squeeze(1), train_y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        test_loss = F.mse_loss(model(test_x).squeeze(1), test_y).item()
    if test_loss < best_loss * 0.8:  # what is no clear progress is not worth a checkpoint
        best_loss, best_state = test_loss, copy.deepcopy(model.state_dict())
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}  test loss {test_loss:.3f}")

model.load_state_dict(best_state)
with torch.no_grad():
    print(f"best {best_loss:.3f}, restored {F.mse_loss(model(test_x).squeeze(1), test_y).item():.3f}")
