# fault: none
# near: ema-stale
# note: teacher accuracy 0.956 with 300 labels. The EMA copy follows at each step, its BatchNorm buffers are copied; it is frozen on purpose and evaluated in eval mode.

"""Mean Teacher (Tarvainen & Valpola 2017) on digits with 300 labels."""
import copy
import itertools

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 96, bias=False), nn.BatchNorm1d(96), nn.LeakyReLU(0.1),
                                   nn.Linear(96, 96, bias=False), nn.BatchNorm1d(96), nn.LeakyReLU(0.1))
        self.fc = nn.Linear(96, 10)

    def forward(self, x):
        return self.fc(self.trunk(x))


class Ema:
    def __init__(self, model, decay):
        self.decay, self.step = decay, 0
        self.shadow = copy.deepcopy(model).eval()
        for p in self.shadow.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        self.step += 1
        d = min(self.decay, 1 - 1 / (self.step + 1))
        for s, p in zip(self.shadow.parameters(), model.parameters()):
            s.mul_(d).add_(p, alpha=1 - d)
        for s, b in zip(self.shadow.buffers(), model.buffers()):
            s.copy_(b)


def noisy(x):
    return x + 0.45 * torch.randn_like(x)


@torch.no_grad()
def accuracy(model, x, y):
    mode = model.training
    model.eval()
    acc = (model(x).argmax(1) == y).float().mean().item()
    model.train(mode)
    return acc


torch.manual_seed(33)
X, y = load_digits(return_X_y=True)
X = ((X - 4.88) / 6.02).astype(np.float32)
Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.3, random_state=33, stratify=y)
Xl, Xu, yl, _ = train_test_split(Xtr, ytr, train_size=300, random_state=33, stratify=ytr)
Xl, Xu, yl, Xte, yte = (torch.from_numpy(a) for a in (Xl, Xu, yl, Xte, yte))
labelled = DataLoader(TensorDataset(Xl, yl), batch_size=32, shuffle=True, drop_last=True)
unlabelled = DataLoader(TensorDataset(Xu), batch_size=96, shuffle=True, drop_last=True)

student = Student()
teacher = Ema(student, decay=0.97)
optimizer = torch.optim.Adam(student.parameters(), lr=1.5e-3)
label_stream = itertools.chain.from_iterable(itertools.repeat(labelled))

EPOCHS, RAMP = 30, 8
for epoch in range(EPOCHS):
    student.train()
    w = 4.0 * float(np.exp(-5 * (1 - min(1, (epoch + 1) / RAMP)) ** 2))
    ce_sum = cons_sum = 0.0
    for xu, in unlabelled:
        xl, tl = next(label_stream)
        both = student(noisy(torch.cat([xl, xu])))
        with torch.no_grad():
            soft = teacher.shadow(noisy(xu)).softmax(1)
        ce = F.cross_entropy(both[:len(xl)], tl)
        cons = (both[len(xl):].softmax(1) - soft).pow(2).sum(1).mean()
        loss = ce + w * cons
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        teacher.update(student)
        ce_sum, cons_sum = ce_sum + ce.item(), cons_sum + cons.item()
    if epoch % 6 == 5:
        k = len(unlabelled)
        print(f"epoch {epoch + 1} ce {ce_sum / k:.3f} consistency {cons_sum / k:.4f} "
              f"student {accuracy(student, Xte, yte):.3f} teacher {accuracy(teacher.shadow, Xte, yte):.3f}")
print("teacher accuracy with 300 labels: %.3f" % accuracy(teacher.shadow, Xte, yte))
