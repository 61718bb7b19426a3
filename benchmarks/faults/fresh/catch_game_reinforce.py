# fault: none
# near: memory-growth
# note: Catch rate 1.000. Lists hold graph-carrying log-probabilities and values of one round and are cleared after each update; the loss history is detached. The loss of a policy gradient need not fall.

"""REINFORCE with a learned baseline on the game of Catch (move a paddle under the falling ball)."""
import torch
import torch.nn as nn
from torch.distributions import Categorical

ROWS, COLS, BATCH = 7, 6, 64


class CatchGames:
    """BATCH games played side by side."""

    def reset(self):
        self.row = 0
        self.ball = torch.randint(0, COLS, (BATCH,))
        self.drift = torch.randint(-1, 2, (BATCH,))
        self.paddle = torch.randint(0, COLS, (BATCH,))
        return self.observe()

    def observe(self):
        obs = torch.zeros(BATCH, ROWS, COLS)
        k = torch.arange(BATCH)
        obs[k, self.row, self.ball] = 1.0
        obs[k, ROWS - 1, self.paddle] += 1.0
        return torch.cat([obs.flatten(1), self.drift[:, None].float()], dim=1)

    def step(self, action):
        self.paddle = (self.paddle + action - 1).clamp(0, COLS - 1)
        if self.row % 3 == 1:
            self.ball = (self.ball + self.drift).clamp(0, COLS - 1)
        self.row += 1
        done = self.row == ROWS - 1
        reward = torch.zeros(BATCH)
        if done:
            reward = torch.where(self.paddle == self.ball, 1.0, -1.0)
        return self.observe(), reward, done


class ActorCritic(nn.Module):
    def __init__(self, obs=ROWS * COLS + 1, hidden=64):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(obs, hidden), nn.Tanh())
        self.actor = nn.Linear(hidden, 3)
        self.critic = nn.Linear(hidden, 1)

    def forward(self, obs):
        z = self.trunk(obs)
        return Categorical(logits=self.actor(z)), self.critic(z).squeeze(-1)


class Agent:
    def __init__(self, gamma=0.97, lr=4e-3, entropy_weight=0.01):
        self.net = ActorCritic()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=lr)
        self.gamma, self.entropy_weight = gamma, entropy_weight
        self.log_probs, self.values, self.rewards, self.entropies = [], [], [], []
        self.loss_history = []

    def act(self, obs):
        policy, value = self.net(obs)
        action = policy.sample()
        self.log_probs.append(policy.log_prob(action))
        self.entropies.append(policy.entropy())
        self.values.append(value)
        return action

    def learn(self):
        returns, running = [], torch.zeros(BATCH)
        for r in reversed(self.rewards):
            running = r + self.gamma * running
            returns.insert(0, running)
        returns, values = torch.stack(returns), torch.stack(self.values)
        advantage = returns - values.detach()
        policy_loss = -(torch.stack(self.log_probs) * advantage).mean()
        value_loss = 0.5 * (returns - values).square().mean()
        loss = policy_loss + value_loss - self.entropy_weight * torch.stack(self.entropies).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.loss_history.append(loss.detach())
        for memory in (self.log_probs, self.values, self.rewards, self.entropies):
            memory.clear()

    @torch.no_grad()
    def catch_rate(self, env, rounds=8):
        self.net.eval()
        caught = 0.0
        for _ in range(rounds):
            obs, done = env.reset(), False
            while not done:
                policy, _ = self.net(obs)
                obs, reward, done = env.step(policy.probs.argmax(-1))
            caught += (reward > 0).float().mean().item()
        self.net.train()
        return caught / rounds


if __name__ == "__main__":
    torch.manual_seed(13)
    env, agent = CatchGames(), Agent()
    for update in range(1, 501):
        obs, done = env.reset(), False
        while not done:
            obs, reward, done = env.step(agent.act(obs))
            agent.rewards.append(reward)
        agent.learn()
        if update % 50 == 0:
            recent = torch.stack(agent.loss_history[-50:]).mean().item()
            print(f"update {update:4d}  loss {recent:+.3f}  catch rate {agent.catch_rate(env):.3f}")
    print(f"final catch rate {agent.catch_rate(env, rounds=20):.3f}")
