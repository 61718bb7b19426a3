# fault: duplicate-parameter
# note: Actor and critic optimizer both hold the shared trunk, and both step on the gradient of one summed loss: the
# trunk is moved twice.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
        self.policy, self.value = nn.Linear(32, 3), nn.Linear(32, 1)

    def forward(self, state):
        hidden = self.trunk(state)
        return torch.distributions.Categorical(logits=self.policy(hidden)), self.value(hidden).squeeze(-1)


agent = Agent()
actor = torch.optim.Adam([*agent.trunk.parameters(), *agent.policy.parameters()], lr=3e-3)
critic = torch.optim.Adam([*agent.trunk.parameters(), *agent.value.parameters()], lr=3e-3)
best_arm = torch.randn(6, 3)
for step in range(300):
    state = torch.randn(64, 6)
    policy, value = agent(state)
    action = policy.sample()
    reward = (action == (state @ best_arm).argmax(1)).float() + 0.1 * torch.randn(64)
    advantage = (reward - value).detach()
    loss = -(policy.log_prob(action) * advantage).mean() + 0.5 * F.mse_loss(value, reward)
    actor.zero_grad()
    critic.zero_grad()
    loss.backward()
    actor.step()
    critic.step()
print("reward", reward.mean().item())
