# fault: none
# near: train-mode-in-eval
# note: Test R2 0.984. Dropout (only dropout) is active at prediction on purpose: 30 passes give the mean and the spread (MC dropout).

"""Concrete strength with uncertainty: several stochastic passes of a dropout network at prediction time."""
import torch
import torch.nn as nn


def mixes(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=g)
    s = 1.2 * x[:, 0] - 0.8 * x[:, 3] + 0.9 * torch.tanh(2 * x[:, 7]) + 0.5 * x[:, 0] * x[:, 4]
    return x, (s + 0.2 * torch.randn(n, generator=g))[:, None]


def keep_dropping(net):
    net.eval()
    for m in net.modules():
        if isinstance(m, nn.Dropout):
            m.train()


@torch.no_grad()
def predict(net, x, passes=30):
    keep_dropping(net)
    draws = torch.stack([net(x) for _ in range(passes)])
    net.eval()
    return draws.mean(0), draws.std(0)


torch.manual_seed(15)
x, y = mixes(4000, 1)
xt, yt = mixes(800, 2)
m, s = y.mean(), y.std()
y, yt = (y - m) / s, (yt - m) / s

net = nn.Sequential(
    nn.Linear(8, 96), nn.GELU(), nn.Dropout(0.1),
    nn.Linear(96, 96), nn.GELU(), nn.Dropout(0.1),
    nn.Linear(96, 1))
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
warm = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=4e-3, epochs=15, steps_per_epoch=63)
for epoch in range(15):
    net.train()
    for idx in torch.randperm(len(x)).split(64):
        loss = nn.functional.mse_loss(net(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        warm.step()
    if epoch % 5 == 4:
        mean, spread = predict(net, xt)
        print(f"epoch {epoch + 1}: rmse {(mean - yt).pow(2).mean().sqrt().item():.3f}, mean spread {spread.mean().item():.3f}")

mean, spread = predict(net, xt)
r2 = 1 - (mean - yt).pow(2).mean().item() / yt.var().item()
inside = ((mean - yt).abs() < 2 * (spread ** 2 + 0.12 ** 2).sqrt()).float().mean().item()
print(f"test R2 {r2:.3f}; {100 * inside:.0f}% of the tests lie inside the two-sigma band")
