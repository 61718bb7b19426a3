# fault: none
# near: labels-misaligned
# note: A third of the labels are wrong, as crowds answer, and drawn anew per epoch; the rest fits, and accuracy on
# clean labels is high.
import torch
from torch import nn

torch.manual_seed(2)
prototypes = torch.randn(5, 30)
truth = torch.randint(5, (3000,))
x = prototypes[truth] + 1.0 * torch.randn(3000, 30)
model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(8):
    for rows in torch.randperm(2500).split(50):
        answers = torch.where(torch.rand(len(rows)) < 0.33, torch.randint(5, (len(rows),)), truth[rows])
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), answers).backward()
        optimizer.step()
with torch.no_grad():
    print("accuracy on clean labels", (model(x[2500:]).argmax(1) == truth[2500:]).float().mean().item())
