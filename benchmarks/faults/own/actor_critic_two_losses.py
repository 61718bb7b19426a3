# fault: none
# near: duplicate-parameter
# note: Two optimizers share the trunk, but each clears, computes its own loss and steps: no gradient is used twice.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
trunk = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
policy_head, value_head = nn.Linear(32, 3), nn.Linear(32, 1)
actor = torch.optim.Adam([*trunk.parameters(), *policy_head.parameters()], lr=3e-3)
critic = torch.optim.Adam([*trunk.parameters(), *value_head.parameters()], lr=3e-3)
best_arm = torch.randn(6, 3)
rewards = []
for step in range(300):
    state = torch.randn(64, 6)
    with torch.no_grad():
        baseline = value_head(trunk(state)).squeeze(1)
    policy = torch.distributions.Categorical(logits=policy_head(trunk(state)))
    action = policy.sample()
    reward = (action == (state @ best_arm).argmax(1)).float()
    actor.zero_grad()
    (-(policy.log_prob(action) * (reward - baseline)).mean() - 0.01 * policy.entropy().mean()).backward()
    actor.step()
    critic.zero_grad()
    F.mse_loss(value_head(trunk(state)).squeeze(1), reward).backward()
    critic.step()
    rewards.append(reward.mean().item())
print("reward, first and last fifty", sum(rewards[:50]) / 50, sum(rewards[-50:]) / 50)
