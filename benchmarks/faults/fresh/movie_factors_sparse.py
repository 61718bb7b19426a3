# fault: none
# near: parameter-not-updated
# note: test rmse 0.334 at a noise floor of 0.3 (always the mean: 1.294). Sparse embedding rows of rarely seen items and the spare last row hardly or never move; two optimizers hold disjoint parameters.

"""Matrix factorisation with sparse embeddings (SparseAdam) and dense biases (Adam)."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

USERS, ITEMS, K = 300, 200, 4
g = torch.Generator().manual_seed(31)
torch.manual_seed(31)
U, V = torch.randn(USERS, K, generator=g), torch.randn(ITEMS, K, generator=g)
ub, vb = 0.4 * torch.randn(USERS, generator=g), 0.6 * torch.randn(ITEMS, generator=g)
# long-tailed popularity: some items are hardly ever rated, a few never
pop = 1.0 / torch.arange(1, ITEMS + 1) ** 0.6
pairs = torch.randperm(USERS * ITEMS, generator=g)
u_all, i_all = pairs // ITEMS, pairs % ITEMS
keep = torch.rand(len(pairs), generator=g) < 0.75 * pop[i_all] / pop.mean() * 0.5
u_all, i_all = u_all[keep], i_all[keep]
r_all = (U[u_all] * V[i_all]).sum(1) / K ** 0.5 + ub[u_all] + vb[i_all] + 0.3 * torch.randn(len(u_all), generator=g)
n = int(0.85 * len(r_all))


class Factors(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.user, self.item = nn.Embedding(USERS + 1, k, sparse=True), nn.Embedding(ITEMS + 1, k, sparse=True)
        self.user_bias = nn.Parameter(torch.zeros(USERS + 1))
        self.item_bias = nn.Parameter(torch.zeros(ITEMS + 1))
        self.mean = nn.Parameter(torch.zeros(()))
        for e in (self.user, self.item):
            nn.init.normal_(e.weight, std=0.3)

    def forward(self, u, i):
        return self.mean + self.user_bias[u] + self.item_bias[i] + (self.user(u) * self.item(i)).sum(-1)


model = Factors(K)
opt_sparse = torch.optim.SparseAdam([model.user.weight, model.item.weight], lr=1e-2)
opt_dense = torch.optim.Adam([model.user_bias, model.item_bias, model.mean], lr=1e-2)
loader = DataLoader(TensorDataset(u_all[:n], i_all[:n], r_all[:n]), batch_size=256, shuffle=True)
for epoch in range(14):
    model.train()
    tot = 0.0
    for u, i, r in loader:
        err = model(u, i) - r
        loss = err.pow(2).mean()
        opt_sparse.zero_grad()
        opt_dense.zero_grad()
        loss.backward()
        opt_sparse.step()
        opt_dense.step()
        tot += loss.item() * len(r)
    model.eval()
    with torch.no_grad():
        rmse = (model(u_all[n:], i_all[n:]) - r_all[n:]).pow(2).mean().sqrt().item()
    print(f"epoch {epoch}: train mse {tot / n:.4f} test rmse {rmse:.4f}")
print(f"test rmse {rmse:.4f}; always the mean: {r_all[n:].std().item():.4f}; noise floor 0.3; ratings {n}")
