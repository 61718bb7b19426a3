# fault: loss-broadcast
# note: The model returns [N, 1], the targets are [N]: `actual - prediction` is [N, N] and every prediction goes to the marginal quantile. Pinball 0.194, correlation 0.115; with squeeze(1) 0.022, 0.985.

"""
90 % quantile of a wind park's power, one hour ahead, from simulated weather.
Trained with the pinball (quantile) loss.
"""
import numpy as np
import torch

rng = np.random.default_rng(31)


def simulate(n):
    speed = rng.weibull(2.0, n) * 8
    direction = rng.uniform(0, 2 * np.pi, n)
    gust = rng.gamma(2.0, 0.5, n)
    temperature = rng.normal(10, 7, n)
    curve = 1 / (1 + np.exp(-(speed - 9) / 1.6))
    wake = 1 - 0.25 * np.cos(2 * direction) ** 2
    noise = rng.normal(0, 0.04 + 0.05 * gust, n)
    power = 100 * (curve * wake + noise * curve * (1.2 - curve))
    feats = np.stack([speed, np.sin(direction), np.cos(direction), gust, temperature], 1)
    return feats.astype(np.float32), power.astype(np.float32)


x_train, p_train = simulate(3000)
x_test, p_test = simulate(1000)
mean, std = x_train.mean(0), x_train.std(0)
p_mean, p_std = p_train.mean(), p_train.std()
to_x = lambda x: torch.from_numpy((x - mean) / std)
to_p = lambda p: torch.from_numpy((p - p_mean) / p_std)

model = torch.nn.Sequential(
    torch.nn.Linear(5, 40), torch.nn.SiLU(),
    torch.nn.Linear(40, 40), torch.nn.SiLU(),
    torch.nn.Linear(40, 1),
)
optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)


def pinball(prediction, actual, tau=0.9):
    diff = actual - prediction
    return torch.maximum(tau * diff, (tau - 1) * diff).mean()


X, P = to_x(x_train), to_p(p_train)
Xt, Pt = to_x(x_test), to_p(p_test)
for epoch in range(1, 31):
    order = torch.from_numpy(rng.permutation(len(X)))
    for chunk in order.split(100):
        optimiser.zero_grad()
        loss = pinball(model(X[chunk]), P[chunk])
        loss.backward()
        optimiser.step()
    if epoch % 5 == 0:
        with torch.no_grad():
            q = model(Xt).numpy().ravel()
        d = Pt.numpy() - q
        score = np.maximum(0.9 * d, -0.1 * d).mean()
        print(f"epoch {epoch:2d}: test pinball {score:.4f}, coverage {np.mean(d <= 0):.3f}, "
              f"corr(q90, power) {np.corrcoef(q, Pt.numpy())[0, 1]:.3f}")

print(f"pinball loss on test (standardised): {score:.4f}")
