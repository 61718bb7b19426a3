# fault: none
# near: parameter-not-updated
# note: HR@10 0.44 from 0.03. Sparse tables: 140 catalogue rows are never played and so never move; two optimizers over disjoint parameters, both stepped on one backward.

"""Implicit-feedback recommender: BPR with sparse embeddings, one optimizer for the tables, another for the tower."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

N_USERS, N_ITEMS, CATALOGUE, GENRES, K = 500, 260, 400, 6, 24


def interactions(rng):
    taste = rng.dirichlet(np.full(GENRES, 0.25), N_USERS)
    genre = rng.integers(0, GENRES, N_ITEMS)
    pop = rng.gamma(1.0, 1.0, N_ITEMS)
    train, test = [], []
    for u in range(N_USERS):
        p = taste[u][genre] * pop
        p = p / p.sum()
        got = rng.choice(N_ITEMS, size=min(24, int((p > 1e-9).sum())), replace=False, p=p)
        test.append((u, got[0]))
        train += [(u, i) for i in got[1:]]
    return np.array(train), np.array(test)


class TwoTower(nn.Module):
    """The item table has room for the whole catalogue; only part of it has been played so far."""

    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(N_USERS, K, sparse=True)
        self.item = nn.Embedding(CATALOGUE, K, sparse=True)
        self.bias = nn.Embedding(CATALOGUE, 1, sparse=True)
        self.tower = nn.Sequential(nn.Linear(K, K), nn.Tanh(), nn.Linear(K, K))
        nn.init.normal_(self.user.weight, std=0.3)
        nn.init.normal_(self.item.weight, std=0.3)
        nn.init.zeros_(self.bias.weight)

    def forward(self, users, items):
        return (self.tower(self.user(users)) * self.item(items)).sum(-1) + self.bias(items).squeeze(-1)

    def all_scores(self, users):
        items = torch.arange(N_ITEMS)
        return self.tower(self.user(users)) @ self.item(items).T + self.bias(items).T


@torch.no_grad()
def hit_rate(model, test, seen, k=10):
    model.eval()
    s = model.all_scores(torch.as_tensor(test[:, 0]))
    s[torch.as_tensor(seen[test[:, 0]])] = -1e9
    top = s.topk(k, dim=1).indices
    return (top == torch.as_tensor(test[:, 1])[:, None]).any(1).float().mean().item()


def main():
    rng = np.random.default_rng(5)
    torch.manual_seed(5)
    train, test = interactions(rng)
    seen = np.zeros((N_USERS, N_ITEMS), bool)
    seen[train[:, 0], train[:, 1]] = True
    model = TwoTower()
    tables = [model.user.weight, model.item.weight, model.bias.weight]
    opt_sparse = torch.optim.SparseAdam(tables, lr=5e-3)
    opt_dense = torch.optim.Adam(model.tower.parameters(), lr=2e-3, weight_decay=1e-4)
    print("before training: HR@10 %.3f" % hit_rate(model, test, seen))
    for epoch in range(20):
        model.train()
        order = rng.permutation(len(train))
        tot = 0.0
        for k in range(0, len(order), 256):
            u, pos = train[order[k:k + 256]].T
            neg = rng.integers(0, N_ITEMS, len(u))
            while (bad := seen[u, neg]).any():
                neg[bad] = rng.integers(0, N_ITEMS, int(bad.sum()))
            u, pos, neg = map(torch.from_numpy, (u.copy(), pos.copy(), neg))
            loss = -F.logsigmoid(model(u, pos) - model(u, neg)).mean()
            opt_sparse.zero_grad()
            opt_dense.zero_grad()
            loss.backward()
            opt_sparse.step()
            opt_dense.step()
            tot += loss.item() * len(u)
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1} bpr {tot / len(train):.4f} HR@10 {hit_rate(model, test, seen):.3f}")
    print("HR@10 %.3f" % hit_rate(model, test, seen))


main()
