# fault: overfitting
# note: Early stopping watches the training loss, never fires and keeps the last weights: validation loss .53 -> 1.12 while training loss falls to .09. R2 -.178, repaired (val_loss) .466.

"""Disease progression one year after baseline (Efron et al. data), MLP with early stopping."""
import copy

import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


class EarlyStopping:
    """Signals when the monitored value has not improved for `patience` epochs."""

    def __init__(self, patience=8):
        self.patience = patience
        self.best = float("inf")
        self.bad_epochs = 0
        self.snapshot = None

    def update(self, value, model):
        if value < self.best:
            self.best = value
            self.snapshot = copy.deepcopy(model.state_dict())
            self.bad_epochs = 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


class Regressor(nn.Module):
    def __init__(self, d_in, width=128):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(d_in, width), nn.GELU(),
            nn.Linear(width, width), nn.GELU(),
        )
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        return self.head(self.trunk(x)).squeeze(-1)


def prepare():
    X, y = load_diabetes(return_X_y=True)
    Xa, Xv, ya, yv = train_test_split(X, y, test_size=0.35, random_state=4)
    sx, sy = StandardScaler().fit(Xa), StandardScaler().fit(ya[:, None])
    f = lambda s, a: torch.tensor(s.transform(a), dtype=torch.float32)
    return f(sx, Xa), f(sx, Xv), f(sy, ya[:, None]).squeeze(1), f(sy, yv[:, None]).squeeze(1)


def main():
    torch.manual_seed(4)
    Xa, Xv, ya, yv = prepare()
    model = Regressor(Xa.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    stopper = EarlyStopping()
    criterion = nn.MSELoss()

    for epoch in range(250):
        model.train()
        train_loss = 0.0
        for idx in torch.randperm(len(Xa)).split(32):
            optimizer.zero_grad()
            loss = criterion(model(Xa[idx]), ya[idx])
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(idx) / len(Xa)
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(Xv), yv).item()
        if epoch % 10 == 0:
            print(f"{epoch:3d}  train {train_loss:.3f}  val {val_loss:.3f}")
        if stopper.update(train_loss, model):
            print("stopping at epoch", epoch)
            break

    model.load_state_dict(stopper.snapshot)
    model.eval()
    with torch.no_grad():
        r2 = 1 - criterion(model(Xv), yv).item() / yv.var(unbiased=False).item()
    print(f"validation R2 of the final model: {r2:.3f}")


if __name__ == "__main__":
    main()
