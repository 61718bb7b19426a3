# fault: none
# near: log-softmax-mismatch
# note: Student and teacher both as log-probabilities, with log_target=True, plus cross_entropy of log_softmax, which
# changes nothing.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(5)
x = torch.randn(2400, 16)
y = (x @ torch.randn(16, 6)).argmax(1)


def network(width):
    return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 6), nn.LogSoftmax(dim=1))


teacher, student = network(128), network(16)
optimizer = torch.optim.Adam(teacher.parameters(), lr=2e-3)
for epoch in range(4):
    for rows in torch.randperm(2000).split(60):
        optimizer.zero_grad()
        F.nll_loss(teacher(x[rows]), y[rows]).backward()
        optimizer.step()
optimizer = torch.optim.Adam(student.parameters(), lr=4e-3)
for epoch in range(8):
    for rows in torch.randperm(2000).split(60):
        with torch.no_grad():
            target = teacher(x[rows])
        said = student(x[rows])
        loss = F.kl_div(said, target, reduction="batchmean", log_target=True) + 0.2 * F.cross_entropy(said, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    print("student", (student(x[2000:]).argmax(1) == y[2000:]).float().mean().item())
