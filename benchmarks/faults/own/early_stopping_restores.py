# fault: none
# near: overfitting
# note: The validation loss does rise in the end, and that is what the patience is for: training stops and the copied
# best weights are restored before the test.
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rule = torch.randn(20, 4)


def split(n):
    x = torch.randn(n, 20)
    return x, (x @ rule + 2 * torch.randn(n, 4)).argmax(1)


train = DataLoader(TensorDataset(*split(600)), batch_size=16, shuffle=True)
(xv, yv), (xt, yt) = split(500), split(500)
model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
best, best_state, waited = float("inf"), None, 0
for epoch in range(60):
    model.train()
    for x, y in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        valid = nn.functional.cross_entropy(model(xv), yv).item()
    if valid < best:
        best, best_state, waited = valid, copy.deepcopy(model.state_dict()), 0
    else:
        waited += 1
        if waited == 5:
            break
model.load_state_dict(best_state)
with torch.no_grad():
    print(f"stopped after {epoch + 1} epochs; test loss {nn.functional.cross_entropy(model(xt), yt):.3f}, best {best:.3f}")
