# fault: loss-broadcast
# note: model output [N,1] against target [N] in a hand-written Huber loss broadcasts to [N,N]; R2 0.024, with squeeze(1) 0.986.

from sklearn.datasets import make_regression
import torch


def huber(prediction, target, delta=1.0):
    err = (prediction - target).abs()
    quad = torch.clamp(err, max=delta)
    return (0.5 * quad ** 2 + delta * (err - quad)).mean()


class Standardizer:
    def fit(self, a):
        self.m, self.s = a.mean(0), a.std(0)
        return self

    def __call__(self, a):
        return (a - self.m) / self.s


def build(n):
    return torch.nn.Sequential(
        torch.nn.Linear(n, 48), torch.nn.SiLU(),
        torch.nn.Linear(48, 24), torch.nn.SiLU(),
        torch.nn.Linear(24, 1),
    )


def r_squared(model, X, y):
    model.eval()
    with torch.no_grad():
        out = model(X).flatten()
    return (1 - ((out - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()).item()


def train():
    torch.manual_seed(8)
    X, y = make_regression(n_samples=2000, n_features=14, n_informative=9, noise=12.0, random_state=8)
    X, y = torch.tensor(X).float(), torch.tensor(y).float()
    sx, sy = Standardizer().fit(X[:1500]), Standardizer().fit(y[:1500])
    X, y = sx(X), sy(y)
    model = build(14)
    optim = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for epoch in range(14):
        model.train()
        order = torch.randperm(1500)
        s = 0.0
        for k in range(0, 1500, 60):
            rows = order[k:k + 60]
            optim.zero_grad()
            loss = huber(model(X[rows]), y[rows])
            loss.backward()
            optim.step()
            s += loss.item()
        print("epoch", epoch, "huber", round(s / 25, 4), "R2", round(r_squared(model, X[1500:], y[1500:]), 4))
    return r_squared(model, X[1500:], y[1500:])


print("final R2 on unseen rows: %.4f" % train())
