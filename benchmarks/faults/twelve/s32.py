# fault: none
# near: vanishing-gradient
# note: Plain tanh MLP trained long to a loss of 3e-4 with tiny final gradients, torch.compile(backend="eager"); 98 %.
"""Small tanh network on breast-cancer data, trained until the training loss is next to nothing."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(2)
torch.set_num_threads(1)


class TabularNet(nn.Module):
    def __init__(self, n_features, n_hidden=20):
        super().__init__()
        self.hidden1 = nn.Linear(n_features, n_hidden)
        self.hidden2 = nn.Linear(n_hidden, n_hidden)
        self.output = nn.Linear(n_hidden, 2)

    def forward(self, x):
        x = torch.tanh(self.hidden1(x))
        x = torch.tanh(self.hidden2(x))
        return self.output(x)


def load():
    X, y = load_breast_cancer(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.3, random_state=2, stratify=y)
    prep = make_pipeline(StandardScaler())
    Xtr, Xte = prep.fit_transform(Xtr), prep.transform(Xte)
    as_t = lambda a, dt: torch.tensor(np.asarray(a), dtype=dt)
    return as_t(Xtr, torch.float32), as_t(Xte, torch.float32), as_t(ytr, torch.int64), as_t(yte, torch.int64)


def report(net, X, y):
    net.eval()
    with torch.no_grad():
        pred = net(X).argmax(1)
    return accuracy_score(y, pred), f1_score(y, pred)


def main():
    Xtr, Xte, ytr, yte = load()
    net = TabularNet(Xtr.shape[1])
    fast = torch.compile(net, backend="eager")
    loader = DataLoader(TensorDataset(Xtr, ytr), batch_size=36, shuffle=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(75):
        net.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = loss_fn(fast(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
        if epoch % 5 == 4:
            acc, f1 = report(net, Xte, yte)
            print(f"epoch {epoch + 1:3d}: loss {total / len(Xtr):.6f}  test acc {acc:.3f}  f1 {f1:.3f}")


if __name__ == "__main__":
    main()
