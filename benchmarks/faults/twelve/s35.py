# fault: exploding-gradient
# accept: loss-diverging, saturated-units, update-too-large
# note: Back-propagation through a 60-step rollout without clipping: gradient norm goes from about 0.2 to 1e7-1e8
# after the first part of the run and the loss to 1e14; clip_grad_norm_ 0.5 gives 0.1. (A smaller lr also avoids it,
# hence update-too-large is accepted.)
"""Learn a one-step emulator of a damped pendulum by unrolling it over a horizon."""
import argparse
import math

import torch
from torch import nn, optim

torch.set_num_threads(1)


def simulate(n, length, dt=0.1, substeps=10):
    theta = (torch.rand(n) * 2 - 1) * 2.5
    omega = (torch.rand(n) * 2 - 1) * 1.5
    out = []
    h = dt / substeps
    for _ in range(length):
        for _ in range(substeps):
            omega = omega - h * (2.0 * torch.sin(theta) + 0.15 * omega)
            theta = theta + h * omega
        out.append(torch.stack([theta, omega], -1))
    return torch.stack(out, 1)


class Emulator(nn.Module):
    """s[t+1] = s[t] + dt * f(s[t])"""

    def __init__(self, width=48, dt=0.1):
        super().__init__()
        self.dt = dt
        self.f = nn.Sequential(
            nn.Linear(2, width),
            nn.Tanh(),
            nn.Linear(width, width),
            nn.Tanh(),
            nn.Linear(width, 2),
        )

    def forward(self, s):
        return s + self.dt * self.f(s)


def rollout(model, s0, n):
    states, s = [], s0
    for _ in range(n):
        s = model(s)
        states.append(s)
    return torch.stack(states, 1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--horizon", type=int, default=60)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--steps", type=int, default=500)
    ap.add_argument("--lr", type=float, default=0.05)
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()

    torch.manual_seed(args.seed)
    traj = simulate(340, 140)
    train, test = traj[:300], traj[300:]
    model = Emulator()
    opt = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)

    avg = 0.0
    for step in range(args.steps):
        rows = torch.randint(0, len(train), (args.batch,))
        t0 = torch.randint(0, train.shape[1] - args.horizon - 1, (1,)).item()
        window = train[rows, t0:t0 + args.horizon + 1]
        pred = rollout(model, window[:, 0], args.horizon)
        loss = ((pred - window[:, 1:]) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        avg += loss.item() / 50
        if (step + 1) % 50 == 0:
            with torch.no_grad():
                err = ((model(test[:, :-1]) - test[:, 1:]) ** 2).mean().item()
            print(f"step {step + 1:4d}  rollout mse {avg:.4g}  one-step rmse {math.sqrt(err):.4g}")
            avg = 0.0


if __name__ == "__main__":
    main()
