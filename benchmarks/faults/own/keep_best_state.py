# fault: save-load-mismatch
# note: `best = model.state_dict()` is no copy but the model's own memory: what is restored at the end are the last
# weights, not the best.
import torch
from torch import nn

torch.manual_seed(0)
rule = torch.randn(20, 4)


def split(n):
    x = torch.randn(n, 20)
    return x, (x @ rule + 2 * torch.randn(n, 4)).argmax(1)


(x, y), (xv, yv) = split(400), split(500)
model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
best_loss, best = float("inf"), None
for epoch in range(20):
    model.train()
    for rows in torch.randperm(len(x)).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        valid = nn.functional.cross_entropy(model(xv), yv).item()
    if valid < best_loss:
        best_loss, best = valid, model.state_dict()
model.load_state_dict(best)
with torch.no_grad():
    print("best", best_loss, "restored", nn.functional.cross_entropy(model(xv), yv).item())
