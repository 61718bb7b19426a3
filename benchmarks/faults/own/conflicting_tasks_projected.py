# fault: none
# near: gradients-discarded
# note: PCGrad clears the gradients between the tasks, but has copied them and writes their combination back before the
# step.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(3)
net = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 4))
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
classes = torch.randn(8, 3)


def task_losses(x):
    out = net(x)
    return F.cross_entropy(out[:, :3], (x @ classes).argmax(1)), F.mse_loss(out[:, 3], x[:, 0] * x[:, 1])


for step in range(250):
    x = torch.randn(64, 8)
    collected = []
    for task in range(2):
        optimizer.zero_grad()
        losses = task_losses(x)
        losses[task].backward()
        collected.append([p.grad.clone() if p.grad is not None else torch.zeros_like(p) for p in net.parameters()])
    for parameter, first, second in zip(net.parameters(), *collected):
        overlap = (first * second).sum()
        if overlap < 0:
            first = first - overlap / (second.square().sum() + 1e-12) * second
        parameter.grad.copy_(first + second)
    optimizer.step()
print("losses", [round(loss.item(), 4) for loss in task_losses(torch.randn(1000, 8))])
