# fault: none
# near: loss-not-decreasing
# note: REINFORCE: the loss means little and is near 0 at the end, episode length goes 19 -> 98 of 100.
"""REINFORCE with a moving baseline on a batch of hand-written cart-poles."""
import math

import torch
import torch.nn as nn
from torch.distributions import Categorical


class CartPoles:
    """n independent cart-poles advanced together; finished ones stay finished."""

    def __init__(self, n):
        self.n = n

    def reset(self):
        self.s = (torch.rand(self.n, 4) - 0.5) * 0.1
        self.alive = torch.ones(self.n, dtype=torch.bool)
        return self.s

    def step(self, action):
        x, v, th, w = self.s.unbind(1)
        force = (action.float() * 2 - 1) * 10.0
        c, s = th.cos(), th.sin()
        tmp = (force + 0.05 * w ** 2 * s) / 1.1
        alpha = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c ** 2 / 1.1))
        acc = tmp - 0.05 * alpha * c / 1.1
        self.s = torch.stack([x + 0.02 * v, v + 0.02 * acc, th + 0.02 * w, w + 0.02 * alpha], 1)
        reward = self.alive.float()
        self.alive = self.alive & (self.s[:, 0].abs() < 2.4) & (self.s[:, 2].abs() < 12 * math.pi / 180)
        return self.s, reward


def discounted(rewards, gamma=0.98):
    out, acc = torch.zeros_like(rewards), torch.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        acc = rewards[t] + gamma * acc
        out[t] = acc
    return out


torch.manual_seed(1)
torch.set_num_threads(1)
N, HORIZON, UPDATES = 16, 100, 150
env = CartPoles(N)
scale = torch.tensor([1.0, 1.0, 8.0, 1.0])
policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
opt = torch.optim.Adam(policy.parameters(), lr=1.5e-3)

lengths = []
for update in range(1, UPDATES + 1):
    s = env.reset()
    states, actions, rewards = [], [], []
    while len(rewards) < HORIZON and env.alive.any():
        with torch.no_grad():
            a = Categorical(logits=policy(s * scale)).sample()
        states.append(s * scale)
        actions.append(a)
        s, r = env.step(a)
        rewards.append(r)
    R = torch.stack(rewards)
    G = discounted(R)
    mask = R > 0
    baseline = (G * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    adv = ((G - baseline) / (G[mask].std() + 1e-6))[mask]
    dist = Categorical(logits=policy(torch.stack(states)[mask]))
    logp = dist.log_prob(torch.stack(actions)[mask])
    loss = -(logp * adv).mean() - 0.003 * dist.entropy().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    lengths.append(R.sum(0).mean().item())
    if update % 10 == 0:
        print(f"update {update:4d}  loss {loss.item():+.4f}  mean episode length {sum(lengths[-10:]) / 10:.1f}")
