# fault: none
# near: step-without-backward
# note: held-out rmse 0.0345 (noise 0.03), R2 0.876 on new patients. L-BFGS evaluates closures (zero_grad + backward inside), no backward outside step(); plain tensors, no nn.Module.

# Two-compartment drug model, 40 patients, fitted by L-BFGS; afterwards a small correction net (weights as plain tensors).
import math
import torch

torch.set_default_dtype(torch.float64)
gen = torch.Generator().manual_seed(2024)
times = torch.linspace(0.25, 12, 18)
n_pat = 40


def concentration(theta, t):
    """theta: log ka, log ke, log A  (patients x 3)"""
    ka, ke, amp = theta.exp().unbind(-1)
    return amp[:, None] * ka[:, None] / (ka - ke)[:, None] * (torch.exp(-ke[:, None] * t) - torch.exp(-ka[:, None] * t))


weight = torch.randn(n_pat, generator=gen)
true = torch.stack([math.log(1.6) + 0.1 * torch.randn(n_pat, generator=gen),
                    math.log(0.25) + 0.25 * torch.tanh(weight) + 0.05 * torch.randn(n_pat, generator=gen),
                    math.log(1.5) - 0.2 * weight + 0.05 * torch.randn(n_pat, generator=gen)], 1)
obs = concentration(true, times) + 0.03 * torch.randn(n_pat, len(times), generator=gen)
fit_t, held_t = slice(0, None, 2), slice(1, None, 2)

# --- 1. individual parameters -----------------------------------------------------------
theta = torch.tensor([[0.0, -1.0, 0.0]]).repeat(n_pat, 1).requires_grad_()
opt = torch.optim.LBFGS([theta], lr=1.0, max_iter=8, history_size=10, line_search_fn="strong_wolfe")


def closure():
    opt.zero_grad()
    misfit = ((concentration(theta, times[fit_t]) - obs[:, fit_t]) ** 2).sum(1).mean()
    prior = 0.001 * ((theta - theta.mean(0)) ** 2).sum(1).mean()
    total = misfit + prior
    total.backward()
    return total


for outer in range(12):
    value = opt.step(closure)
    if outer % 3 == 0:
        print("lbfgs", outer, "objective %.5f" % value.item())

with torch.no_grad():
    rmse = (concentration(theta, times[held_t]) - obs[:, held_t]).pow(2).mean().sqrt().item()
print("held-out time points: rmse %.4f (noise 0.03)" % rmse)

# --- 2. body weight -> parameters, a two-layer net without nn.Module ---------------------
target = theta.detach()[:, 1:]
mu, sd = target.mean(0), target.std(0)
W1 = (torch.randn(1, 8, generator=gen)).requires_grad_()
b1 = (torch.randn(8, generator=gen)).requires_grad_()
W2 = (torch.randn(8, 2, generator=gen) / 8 ** 0.5).requires_grad_()
b2 = torch.zeros(2, requires_grad=True)
net = [W1, b1, W2, b2]
predict = lambda w: torch.tanh(w[:, None] @ W1 + b1) @ W2 + b2
tr, te = slice(0, 30), slice(30, None)
opt2 = torch.optim.LBFGS(net, lr=0.5, max_iter=5)


def closure2():
    opt2.zero_grad()
    err = (predict(weight[tr]) - (target[tr] - mu) / sd).pow(2).mean()
    err = err + 1e-2 * sum((p ** 2).mean() for p in (W1, W2)) + 1e-3 * b2.pow(2).sum()
    err.backward()
    return err


for k in range(15):
    e = opt2.step(closure2)
with torch.no_grad():
    z = (target[te] - mu) / sd
    r2 = 1 - (predict(weight[te]) - z).pow(2).sum() / (z - z.mean(0)).pow(2).sum()
print("weight -> (ke, A): final objective %.4f, R2 on 10 new patients %.3f" % (e.item(), r2.item()))
