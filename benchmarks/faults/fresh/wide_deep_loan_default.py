# fault: vanishing-gradient
# note: Deep tower of eight sigmoid layers with default initialisation under SGD: gradient norm 4.5e-9 in the first layer against 5e-3 in the last; only the wide part learns. AUC 0.639 with the fault, 0.949 with ReLU and He initialisation.

import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

SEED = 7
rng = np.random.default_rng(SEED)
torch.manual_seed(SEED)


def loan_table(n=6000):
    X = rng.normal(size=(n, 12))
    score = (0.8 * X[:, 0] - 0.6 * X[:, 1]
             + 2.2 * X[:, 2] * X[:, 3] - 1.8 * X[:, 4] * X[:, 5]
             + 1.2 * (np.abs(X[:, 6]) - 0.8))
    y = (score + rng.logistic(scale=0.4, size=n) > 0).astype(np.float32)
    return X.astype(np.float32), y


class DeepTower(nn.Module):
    def __init__(self, n_in, width=64, depth=8):
        super().__init__()
        dims = [n_in] + [width] * depth
        blocks = []
        for a, b in zip(dims[:-1], dims[1:]):
            blocks += [nn.Linear(a, b), nn.Sigmoid()]
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(self.blocks(x))


class WideDeep(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.wide = nn.Linear(n_in, 1)
        self.deep = DeepTower(n_in)

    def forward(self, x):
        return (self.wide(x) + self.deep(x)).squeeze(-1)


X, y = loan_table()
X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.25, random_state=SEED, stratify=y)
scaler = StandardScaler().fit(X_tr)
X_tr = torch.from_numpy(scaler.transform(X_tr).astype(np.float32))
X_te = torch.from_numpy(scaler.transform(X_te).astype(np.float32))
y_tr = torch.from_numpy(y_tr)

net = WideDeep(X.shape[1])
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
crit = nn.BCEWithLogitsLoss()
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X_tr, y_tr), batch_size=64, shuffle=True)


def auc():
    net.eval()
    with torch.no_grad():
        return roc_auc_score(y_te, torch.sigmoid(net(X_te)).numpy())


for ep in range(6):
    net.train()
    losses = []
    for xb, yb in loader:
        opt.zero_grad()
        loss = crit(net(xb), yb)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    if ep % 3 == 2:
        print("epoch", ep + 1, "loss", round(float(np.mean(losses)), 4), "auc", round(auc(), 4))
print("test AUC = %.4f" % auc())
