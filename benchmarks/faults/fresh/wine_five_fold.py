# fault: none
# near: train-test-overlap
# note: Cross-validated accuracy .983. Each fold has a fresh net and scaler; rows are test rows of one fold and training rows of another; the training accuracy is reported as such.

"""Five-fold cross-validation of a small network on the wine data; training accuracy is reported too."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class TorchClassifier(ClassifierMixin, BaseEstimator):
    """scikit-learn flavoured wrapper: fit(X, y), score(X, y)."""

    def __init__(self, hidden=32, epochs=40, lr=5e-3, batch_size=16, seed=0):
        self.hidden, self.epochs, self.lr, self.batch_size, self.seed = hidden, epochs, lr, batch_size, seed

    def fit(self, X, y):
        torch.manual_seed(self.seed)
        X, y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
        self.net_ = nn.Sequential(
            nn.Linear(X.shape[1], self.hidden), nn.CELU(), nn.Dropout(0.3), nn.Linear(self.hidden, int(y.max()) + 1))
        opt = torch.optim.AdamW(self.net_.parameters(), lr=self.lr, weight_decay=0.1)
        self.net_.train()
        self.losses_ = []
        for _ in range(self.epochs):
            total = 0.0
            for idx in torch.randperm(len(X)).split(self.batch_size):
                opt.zero_grad()
                loss = nn.functional.cross_entropy(self.net_(X[idx]), y[idx])
                loss.backward()
                opt.step()
                total += loss.item() * len(idx)
            self.losses_.append(total / len(X))
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        self.net_.eval()
        with torch.no_grad():
            return self.net_(torch.as_tensor(X, dtype=torch.float32)).argmax(1).numpy()

    def score(self, X, y):
        return float((self.predict(X) == y).mean())


X, y = load_wine(return_X_y=True)
folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
test_scores = []
for k, (train, test) in enumerate(folds.split(X, y)):
    pipe = make_pipeline(StandardScaler(), TorchClassifier(seed=k))
    pipe.fit(X[train], y[train])
    test_scores.append(pipe.score(X[test], y[test]))
    losses = pipe[-1].losses_
    print(f"fold {k}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, train accuracy {pipe.score(X[train], y[train]):.3f}, "
          f"test accuracy {test_scores[-1]:.3f}")
print(f"cross-validated accuracy {np.mean(test_scores):.3f} +- {np.std(test_scores):.3f}")
