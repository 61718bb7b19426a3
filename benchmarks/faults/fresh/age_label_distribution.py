# fault: log-softmax-mismatch
# note: KLDivLoss wants log-probabilities but the model returns softmax probabilities: the objective is linear in q and drives q to one-hot. Held-out KL 8.23; with log_softmax (and exp in the evaluation) 0.063.

"""Label distribution learning: predict a whole distribution over rating bins from item features.

Each item was rated by a crowd; the target is the histogram of the crowd's votes over K bins.
"""
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

K = 7


class RatedItem(NamedTuple):
    features: Tensor
    votes: Tensor


class CrowdRatings(Dataset):
    def __init__(self, n: int, seed: int):
        g = torch.Generator().manual_seed(seed)
        world = torch.Generator().manual_seed(1234)
        w_mu, w_sd = torch.randn(12, generator=world), torch.randn(12, generator=world)
        x = torch.randn(n, 12, generator=g)
        mu = 3 + 1.8 * torch.tanh(x @ w_mu / 3) + 0.7 * torch.sin(2 * x[:, 0])
        sd = 0.6 + 1.2 * torch.sigmoid(x @ w_sd / 2)
        bins = torch.arange(K).float()
        logits = -0.5 * ((bins - mu[:, None]) / sd[:, None]) ** 2
        p = torch.softmax(logits, dim=1)
        counts = torch.multinomial(p, 60, replacement=True, generator=g)
        votes = torch.nn.functional.one_hot(counts, K).float().mean(1)
        self.x, self.votes = x, votes

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return RatedItem(self.x[i], self.votes[i])


class DistributionRegressor(nn.Module):
    def __init__(self, n_in=12, hidden=48, bins=K):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n_in, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.bins = nn.Linear(hidden, bins)

    def forward(self, x):
        return torch.softmax(self.bins(self.trunk(x)), dim=-1)


def kl_to_crowd(model, loader):
    """Mean KL(crowd || model) in nats, and the mean error of the expected rating."""
    model.eval()
    kl = mae = n = 0
    grid = torch.arange(K).float()
    with torch.no_grad():
        for item in loader:
            q = model(item.features).clamp_min(1e-8)
            p = item.votes
            kl += (p * (p.clamp_min(1e-8).log() - q.log())).sum().item()
            mae += ((q - p) @ grid).abs().sum().item()
            n += len(p)
    model.train()
    return kl / n, mae / n


def main():
    torch.manual_seed(8)
    train = DataLoader(CrowdRatings(3000, 1), batch_size=50, shuffle=True)
    held_out = DataLoader(CrowdRatings(800, 2), batch_size=200)
    model = DistributionRegressor()
    objective = nn.KLDivLoss(reduction="batchmean")
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(14):
        acc = 0.0
        for item in train:
            opt.zero_grad()
            loss = objective(model(item.features), item.votes)
            loss.backward()
            opt.step()
            acc += loss.item()
        kl, mae = kl_to_crowd(model, held_out)
        print(f"{epoch:2d}  objective {acc / len(train):8.4f}  held-out KL {kl:.4f}  |E error| {mae:.3f}")
    print(f"held-out KL(crowd||model) = {kl:.4f} nats")


main()
