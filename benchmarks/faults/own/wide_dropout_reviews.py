# fault: none
# near: dropout-too-high
# note: Half of a wide hidden layer is dropped, as usual in large classifiers; it helps on little data.
import torch
from torch import nn

torch.manual_seed(0)
WORDS = 500
weight = torch.randn(WORDS)


def reviews(n):
    counts = torch.poisson(torch.full((n, WORDS), 0.06))
    return counts, (counts @ weight + 0.5 * torch.randn(n) > 0).float()


x, y = reviews(1500)
xv, yv = reviews(600)
model = nn.Sequential(nn.Linear(WORDS, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(6):
    model.train()
    for rows in torch.randperm(len(x)).split(50):
        optimizer.zero_grad()
        criterion(model(x[rows]).squeeze(1), y[rows]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        logits = model(xv).squeeze(1)
        print(f"valid loss {criterion(logits, yv):.3f}, accuracy {((logits > 0) == yv.bool()).float().mean():.3f}")
