# fault: none
# near: ema-stale
# note: Cosine warm restarts, EMA copy, zero-init last BatchNorm of each residual branch, eval between epochs; 99 %.
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts


class EMA:
    """Exponential moving average of weights (and buffers)."""

    def __init__(self, model, decay=0.97):
        self.shadow = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for s, p in zip(self.shadow.parameters(), model.parameters()):
            s.lerp_(p, 1 - self.decay)
        for s, b in zip(self.shadow.buffers(), model.buffers()):
            s.copy_(b)


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c1 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.b1 = nn.BatchNorm2d(c)
        self.c2 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.b2 = nn.BatchNorm2d(c)
        nn.init.zeros_(self.b2.weight)

    def forward(self, x):
        return F.relu(x + self.b2(self.c2(F.relu(self.b1(self.c1(x))))))


class ResNet(nn.Module):
    def __init__(self, c=20):
        super().__init__()
        self.stem = nn.Conv2d(1, c, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(ResBlock(c), ResBlock(c))
        self.fc = nn.Linear(c, 10)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def test(model, x, y):
    was = model.training
    model.eval()
    with torch.no_grad():
        acc = (model(x).argmax(1) == y).float().mean().item()
    model.train(was)
    return acc


torch.manual_seed(44)
digits = load_digits()
a, b, ya, yb = train_test_split(digits.images[:, None] / 16.0, digits.target, test_size=0.25, random_state=44)
a, b = torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
ya, yb = torch.tensor(ya), torch.tensor(yb)

model = ResNet()
ema = EMA(model)
opt = torch.optim.SGD(model.parameters(), lr=0.15, momentum=0.9, weight_decay=1e-4, nesterov=True)
sched = CosineAnnealingWarmRestarts(opt, T_0=5)
n_epochs, bs = 20, 48
iters = len(a) // bs
for epoch in range(n_epochs):
    model.train()
    perm, total = torch.randperm(len(a)), 0.0
    for i in range(iters):
        idx = perm[i * bs:(i + 1) * bs]
        loss = F.cross_entropy(model(a[idx]), ya[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step(epoch + (i + 1) / iters)
        ema.update(model)
        total += loss.item()
    print(f"epoch {epoch:2d} lr {opt.param_groups[0]['lr']:.4f} loss {total / iters:.4f} acc {test(model, b, yb):.3f} ema {test(ema.shadow, b, yb):.3f}")
