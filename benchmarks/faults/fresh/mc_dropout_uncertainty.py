# fault: none
# near: train-mode-in-eval
# note: R2 0.963, MC mean 0.963, SWA 0.960. Dropout alone is put in train mode for Monte-Carlo draws, on purpose; update_bn re-estimates statistics on the training data; the SWA copy follows only from epoch 10 on.

"""Regression with Monte-Carlo dropout; then the averaged (SWA) weights get their BatchNorm statistics re-estimated."""
import torch
from sklearn.datasets import make_friedman1
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(40)
X, y = make_friedman1(n_samples=2600, n_features=8, noise=0.5, random_state=40)
X = torch.tensor((X - 0.5) * 12 ** 0.5, dtype=torch.float32)
y = torch.tensor((y - y[:2000].mean()) / y[:2000].std(), dtype=torch.float32).unsqueeze(1)
train = DataLoader(TensorDataset(X[:2000], y[:2000]), batch_size=50, shuffle=True)
Xt, yt = X[2000:], y[2000:]


class Net(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.inp = nn.Linear(d, 64, bias=False)
        self.bn = nn.BatchNorm1d(64)
        self.hidden = nn.Linear(64, 64)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        h = torch.relu(self.bn(self.inp(x)))
        return self.out(self.drop(torch.relu(self.hidden(h))))


def r2(pred):
    return 1 - ((pred - yt).square().sum() / (yt - yt.mean()).square().sum()).item()


net = Net(8)
swa = AveragedModel(net)
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(16):
    net.train()
    tot = 0.0
    for xb, yb in train:
        opt.zero_grad()
        loss = (net(xb) - yb).square().mean()
        loss.backward()
        opt.step()
        tot += loss.item()
    if epoch >= 10:
        swa.update_parameters(net)
    net.eval()
    with torch.no_grad():
        print(f"epoch {epoch}: mse {tot / len(train):.4f}  R2 {r2(net(Xt)):.4f}")

# predictive spread: only the dropout stays random, everything else is in eval mode
net.eval()
net.drop.train()
with torch.no_grad():
    draws = torch.stack([net(Xt) for _ in range(30)])
net.eval()
print(f"MC mean R2 {r2(draws.mean(0)):.4f}, mean spread {draws.std(0).mean():.4f}")

update_bn(train, swa)
swa.eval()
with torch.no_grad():
    print(f"SWA R2 {r2(swa(Xt)):.4f}")
