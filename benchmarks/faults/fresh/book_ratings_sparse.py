# fault: none
# near: duplicate-parameter
# note: Held-out rmse 0.187 (standard deviation 1; noise floor about 0.16). SparseAdam for the id tables, Adam for the biases: disjoint sets; sparse gradients touch only the rows of a batch.

"""Matrix factorisation for book ratings: sparse id tables and dense bias terms have separate optimizers."""
import torch
import torch.nn as nn

USERS, BOOKS, RANK = 250, 180, 6


def ratings(seed=0):
    g = torch.Generator().manual_seed(seed)
    u, b = torch.randn(USERS, 3, generator=g), torch.randn(BOOKS, 3, generator=g)
    full = (u @ b.T) / 3 ** 0.5 + 0.4 * torch.randn(USERS, 1, generator=g) + 0.5 * torch.randn(1, BOOKS, generator=g)
    full = full + 0.2 * torch.randn(USERS, BOOKS, generator=g)
    cells = torch.randperm(USERS * BOOKS, generator=g)[:24000]
    triples = torch.stack([cells // BOOKS, cells % BOOKS], 1)
    return triples, full[triples[:, 0], triples[:, 1]]


class Factors(nn.Module):
    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(USERS, RANK, sparse=True)
        self.book = nn.Embedding(BOOKS, RANK, sparse=True)
        for t in (self.user, self.book):
            nn.init.normal_(t.weight, std=0.1)
        self.user_bias = nn.Parameter(torch.zeros(USERS))
        self.book_bias = nn.Parameter(torch.zeros(BOOKS))

    def forward(self, pairs):
        u, b = pairs.unbind(1)
        return (self.user(u) * self.book(b)).sum(1) + self.user_bias[u] + self.book_bias[b]


class Fitter:
    def __init__(self, net):
        self.net = net
        self.opts = [
            torch.optim.SparseAdam(list(net.user.parameters()) + list(net.book.parameters()), lr=0.01),
            torch.optim.Adam([net.user_bias, net.book_bias], lr=0.01),
        ]

    def step(self, pairs, y):
        for o in self.opts:
            o.zero_grad()
        loss = (self.net(pairs) - y).pow(2).mean()
        loss.backward()
        for o in self.opts:
            o.step()
        return loss.item()


def rmse(net, pairs, y):
    net.eval()
    with torch.no_grad():
        return (net(pairs) - y).pow(2).mean().sqrt().item()


def main():
    torch.manual_seed(4)
    pairs, y = ratings()
    cut = 20000
    mean, std = y[:cut].mean(), y[:cut].std()
    y = (y - mean) / std
    net = Factors()
    fitter = Fitter(net)
    for epoch in range(6):
        net.train()
        tot = 0.0
        for idx in torch.randperm(cut).split(128):
            tot += fitter.step(pairs[idx], y[idx]) * len(idx)
        print(f"epoch {epoch:2d} train mse {tot / cut:.3f} held-out rmse {rmse(net, pairs[cut:], y[cut:]):.3f}")
    print(f"held-out rmse {rmse(net, pairs[cut:], y[cut:]):.3f} (ratings have standard deviation 1)")


if __name__ == "__main__":
    main()
