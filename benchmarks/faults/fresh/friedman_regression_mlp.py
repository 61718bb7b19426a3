# fault: loss-broadcast
# note: residual of [B,1] prediction and [B] target broadcasts to [B,B]. R2 0.02, loss flat at 1.0; with squeeze(1) R2 0.969.

import numpy as np
import torch
from torch import nn
from sklearn.datasets import make_friedman1
from sklearn.metrics import r2_score


def prepare(seed=0):
    X, y = make_friedman1(n_samples=2400, n_features=8, noise=0.8, random_state=seed)
    X = X.astype(np.float32) * 2 - 1
    tr, te = slice(0, 1800), slice(1800, None)
    m, s = y[tr].mean(), y[tr].std()
    y = ((y - m) / s).astype(np.float32)
    return (X[tr], y[tr]), (X[te], y[te])


class Regressor:
    """scikit-learn style wrapper"""

    def __init__(self, hidden=64, lr=3e-3, max_iter=25, batch_size=64):
        self.hidden, self.lr, self.max_iter, self.batch_size = hidden, lr, max_iter, batch_size

    def _build(self, d):
        return nn.Sequential(nn.Linear(d, self.hidden), nn.SiLU(),
                             nn.Linear(self.hidden, self.hidden), nn.SiLU(),
                             nn.Linear(self.hidden, 1))

    @staticmethod
    def _objective(pred, target):
        residual = pred - target
        return residual.pow(2).mean()

    def fit(self, X, y):
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        self.net_ = self._build(X.shape[1])
        opt = torch.optim.Adam(self.net_.parameters(), lr=self.lr)
        self.loss_curve_ = []
        for it in range(self.max_iter):
            acc = 0.0
            order = torch.randperm(len(X))
            for sel in order.split(self.batch_size):
                opt.zero_grad()
                loss = self._objective(self.net_(X[sel]), y[sel])
                loss.backward()
                opt.step()
                acc += loss.item() * len(sel)
            self.loss_curve_.append(acc / len(X))
        return self

    def predict(self, X):
        self.net_.eval()
        with torch.no_grad():
            return self.net_(torch.from_numpy(X)).squeeze(1).numpy()


torch.manual_seed(4)
(Xtr, ytr), (Xte, yte) = prepare()
reg = Regressor().fit(Xtr, ytr)
print("loss curve:", " ".join(f"{v:.3f}" for v in reg.loss_curve_[::4]))
print("R2 on the test part: %.3f" % r2_score(yte, reg.predict(Xte)))
