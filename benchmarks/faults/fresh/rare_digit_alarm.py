# fault: dead-units
# accept: constant-output
# note: the prior bias -4.6, meant for the output layer only, is given to every Linear, so all hidden ReLUs are off from the start (64/64 and 32/32 dead). AP 0.098 (one constant score); prior on the last layer only: AP 0.99.

import math
import torch
from torch import nn
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split

# Assignment 3: raise an alarm when the scanner sees an "8".
# (about 10 % of the rows are positive, so start from the prior like in the focal-loss paper)
torch.manual_seed(0)
PRIOR = 0.01

digits = load_digits()
X = torch.tensor(digits.data, dtype=torch.float32) / 16
X = (X - X.mean()) / X.std()
y = torch.tensor(digits.target == 8).float()
Xtr, Xva, ytr, yva = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)


class AlarmNet(nn.Module):
    def __init__(self, n_in, hidden=(64, 32)):
        super().__init__()
        sizes = [n_in, *hidden]
        blocks = []
        for a, b in zip(sizes, sizes[1:]):
            blocks += [nn.Linear(a, b), nn.ReLU()]
        self.body = nn.Sequential(*blocks)
        self.score = nn.Linear(sizes[-1], 1)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_uniform_(m.weight, a=math.sqrt(5))
                nn.init.constant_(m.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, x):
        return self.score(self.body(x)).squeeze(1)


net = AlarmNet(X.shape[1])
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
bce = nn.BCEWithLogitsLoss()

history = []
for epoch in range(15):
    net.train()
    perm = torch.randperm(len(Xtr))
    tot = 0.0
    for i in range(0, len(perm), 32):
        idx = perm[i:i + 32]
        opt.zero_grad()
        loss = bce(net(Xtr[idx]), ytr[idx])
        loss.backward()
        opt.step()
        tot += loss.item() * len(idx)
    net.eval()
    with torch.no_grad():
        logits = net(Xva)
        va = bce(logits, yva).item()
    ap = average_precision_score(yva.numpy(), logits.numpy())
    history.append((tot / len(perm), va, ap))
    print("epoch %2d  train %.4f  valid %.4f  AP %.3f" % (epoch, *history[-1]))

print("best AP: %.3f" % max(h[2] for h in history))
