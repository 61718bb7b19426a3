# fault: none
# near: parameter-not-updated
# note: Sparse embeddings with SparseAdam plus Adam for the dense part, Zipf popularity; test MSE 0.07 of variance
# 1.06.
"""Ratings with sparse embeddings plus a dense mixing network; popularity follows a Zipf law."""
import numpy as np
import torch
from torch import nn

N_USERS, N_ITEMS, RANK, N_RATINGS = 1200, 800, 4, 90_000


def synthesise(rng):
    u_true = rng.normal(size=(N_USERS, RANK))
    v_true = rng.normal(size=(N_ITEMS, RANK))
    pu = 1 / np.arange(1, N_USERS + 1) ** 0.6
    pi = 1 / np.arange(1, N_ITEMS + 1) ** 0.6
    users = rng.choice(N_USERS, N_RATINGS, p=pu / pu.sum())
    items = rng.choice(N_ITEMS, N_RATINGS, p=pi / pi.sum())
    score = (u_true[users] * v_true[items]).sum(1) / RANK ** 0.5 + 0.2 * rng.normal(size=N_RATINGS)
    return users, items, score


class Recommender(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.user = nn.Embedding(N_USERS, dim, sparse=True)
        self.item = nn.Embedding(N_ITEMS, dim, sparse=True)
        nn.init.normal_(self.user.weight, std=0.3)
        nn.init.normal_(self.item.weight, std=0.3)
        self.mix = nn.Sequential(nn.Linear(3 * dim, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, u, i):
        p, q = self.user(u), self.item(i)
        inter = p * q
        return inter.sum(-1) + self.mix(torch.cat([p, q, inter], -1)).squeeze(-1)

    def dense_parameters(self):
        return self.mix.parameters()

    def sparse_parameters(self):
        return [self.user.weight, self.item.weight]


def main():
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    users, items, score = synthesise(rng)
    u, i, r = torch.tensor(users), torch.tensor(items), torch.tensor(score, dtype=torch.float32)
    n_train = int(0.9 * N_RATINGS)
    model = Recommender()
    opt_sparse = torch.optim.SparseAdam(model.sparse_parameters(), lr=1e-2)
    opt_dense = torch.optim.Adam(model.dense_parameters(), lr=2e-3)
    base = r[n_train:].var().item()
    for epoch in range(12):
        running, count = 0.0, 0
        for idx in torch.randperm(n_train).split(600):
            err = model(u[idx], i[idx]) - r[idx]
            loss = err.pow(2).mean()
            opt_sparse.zero_grad()
            opt_dense.zero_grad()
            loss.backward()
            opt_sparse.step()
            opt_dense.step()
            running += loss.item()
            count += 1
        with torch.no_grad():
            test = (model(u[n_train:], i[n_train:]) - r[n_train:]).pow(2).mean().item()
        print(f"epoch {epoch}: train mse {running / count:.4f}, test mse {test:.4f} (variance {base:.3f})")


if __name__ == "__main__":
    main()
