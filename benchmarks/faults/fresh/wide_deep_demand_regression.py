# fault: vanishing-gradient
# note: Eight sigmoid layers under SGD: the gradients of the deep tower's first layers are about 1e-4 of those of its last hidden layer and 1e-7 of the wide path's (weight updates 2e-6 per step, weight decay only), so that only the wide path learns. Test R2 0.719; with Tanh (same initialisation, same rate) 0.983.

"""Wide & deep regression: a linear "wide" path plus a deep tower, summed (after Cheng et al. 2016)."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

SEED = 11
torch.manual_seed(SEED)
np.random.seed(SEED)


class DeepTower(nn.Module):
    def __init__(self, n_in, width=48, depth=8):
        super().__init__()
        layers, d = [], n_in
        for _ in range(depth):
            layers += [nn.Linear(d, width), nn.Sigmoid()]
            d = width
        self.body = nn.Sequential(*layers)
        self.project = nn.Linear(d, 1)
        for m in self.body:
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.project(self.body(x))


class WideAndDeep(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.wide = nn.Linear(n_in, 1)
        self.deep = DeepTower(n_in)

    def forward(self, x):
        return (self.wide(x) + self.deep(x)).squeeze(1)


X, y = make_friedman1(n_samples=4000, n_features=8, noise=0.5, random_state=SEED)
X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.25, random_state=SEED)
sx, sy = StandardScaler().fit(X_tr), StandardScaler().fit(y_tr[:, None])
prep = lambda a, b: (torch.tensor(sx.transform(a), dtype=torch.float32),
                     torch.tensor(sy.transform(b[:, None])[:, 0], dtype=torch.float32))
train_set, test_set = TensorDataset(*prep(X_tr, y_tr)), TensorDataset(*prep(X_te, y_te))
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
test_loader = DataLoader(test_set, batch_size=250)

model = WideAndDeep(X.shape[1])
opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-5)
loss_fn = nn.MSELoss()

for epoch in range(25):
    model.train()
    total = 0.0
    for xb, yb in train_loader:
        opt.zero_grad()
        loss = loss_fn(model(xb), yb)
        loss.backward()
        opt.step()
        total += loss.item() * len(xb)
    model.eval()
    sse = 0.0
    with torch.no_grad():
        for xb, yb in test_loader:
            sse += ((model(xb) - yb) ** 2).sum().item()
    mse_te = sse / len(test_set)
    if epoch % 4 == 0 or epoch == 24:
        print(f"epoch {epoch:02d}  train mse {total / len(train_set):.4f}  test mse {mse_te:.4f}")

var = test_set.tensors[1].var(unbiased=False).item()
print(f"test R2 = {1 - mse_te / var:.3f}")
