# fault: none
# near: loss-diverging
# note: Learning-rate range test on a throw-away copy until the loss leaves, then a normal functional run; 98 %.
"""Range test for the learning rate, then a normal training run. Weights live in a plain dict."""
import math

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(9)
X, y = load_digits(return_X_y=True)
X = (torch.tensor(X).float() - 5) / 6
y = torch.tensor(y)
order = torch.randperm(len(X))
X, y = X[order], y[order]
Xtr, ytr, Xva, yva = X[:1450], y[:1450], X[1450:], y[1450:]


def init(width=160):
    shapes = {"w1": (64, width), "w2": (width, width), "w3": (width, 10)}
    theta = {k: torch.randn(s) * math.sqrt(2.0 / s[0]) for k, s in shapes.items()}
    theta |= {"b" + k[1]: torch.zeros(s[1]) for k, s in shapes.items()}
    return {k: v.requires_grad_() for k, v in theta.items()}


def predict(theta, x):
    h = F.relu(x @ theta["w1"] + theta["b1"])
    h = F.relu(h @ theta["w2"] + theta["b2"])
    return h @ theta["w3"] + theta["b3"]


def batches(n, size, epochs):
    for _ in range(epochs):
        yield from torch.randperm(n).split(size)


def range_test(theta, lo=1e-4, hi=3.0, n=100):
    """Exponential sweep on a throw-away copy of the weights; stop once the loss has clearly left."""
    copy = {k: v.detach().clone().requires_grad_() for k, v in theta.items()}
    opt = torch.optim.SGD(copy.values(), lr=lo, momentum=0.9)
    rates, curve, best = [], [], math.inf
    smooth = None
    for k, idx in zip(range(n), batches(len(Xtr), 50, 99)):
        rate = lo * (hi / lo) ** (k / (n - 1))
        opt.param_groups[0]["lr"] = rate
        loss = F.cross_entropy(predict(copy, Xtr[idx]), ytr[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        smooth = loss.item() if smooth is None else 0.8 * smooth + 0.2 * loss.item()
        best = min(best, smooth)
        rates.append(rate)
        curve.append(smooth)
        if smooth > 2.5 * best and k > 10:
            break
    at = min(range(len(curve)), key=curve.__getitem__)
    print(f"sweep: {len(rates)} rates, lowest loss {curve[at]:.3f} at {rates[at]:.3g}, stopped at {rates[-1]:.3g}")
    return rates[at] / 8


theta = init()
lr = range_test(theta)
print(f"chosen lr {lr:.3g}")
opt = torch.optim.SGD(theta.values(), lr=lr, momentum=0.9)
epochs, size = 32, 50
sched = torch.optim.lr_scheduler.PolynomialLR(opt, total_iters=epochs * math.ceil(len(Xtr) / size), power=1.0)
run = []
for i, idx in enumerate(batches(len(Xtr), size, epochs)):
    loss = F.cross_entropy(predict(theta, Xtr[idx]), ytr[idx])
    opt.zero_grad()
    loss.backward()
    opt.step()
    sched.step()
    run.append(loss.item())
    if (i + 1) % 116 == 0:
        with torch.no_grad():
            acc = (predict(theta, Xva).argmax(1) == yva).float().mean().item()
        print(f"step {i + 1:4d} loss {sum(run[-116:]) / 116:.4f} val acc {acc:.3f}")
