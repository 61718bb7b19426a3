# fault: none
# near: parameter-not-updated
# note: Explained variance 0.938. 60 songs have no rating yet, so their rows get no gradient; sparse tables and dense tower have disjoint optimizers. Test pairs are disjoint from training pairs.

"""Two-tower ratings model; sparse embedding tables with SparseAdam, the dense rest with AdamW.
The catalogue is larger than what has been rated so far, so some rows are there for later."""
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


@dataclass
class Interactions:
    user: Tensor
    song: Tensor
    stars: Tensor

    def __len__(self):
        return len(self.user)

    def __getitem__(self, i):
        return self.user[i], self.song[i], self.stars[i]


N_USERS, N_SONGS, ACTIVE_SONGS, RANK = 250, 260, 200, 3


def generate(n, gen):
    world = torch.Generator().manual_seed(500)
    u, s = torch.randn(N_USERS, RANK, generator=world), torch.randn(N_SONGS, RANK, generator=world)
    bu, bs = 0.5 * torch.randn(N_USERS, generator=world), 0.7 * torch.randn(N_SONGS, generator=world)
    pairs = torch.randperm(N_USERS * ACTIVE_SONGS, generator=gen)[:n]
    user, song = pairs // ACTIVE_SONGS, pairs % ACTIVE_SONGS
    stars = (u[user] * s[song]).sum(1) / RANK ** 0.5 + bu[user] + bs[song] + 0.3 * torch.randn(n, generator=gen)
    stars = (stars - stars.mean()) / stars.std()
    return user, song, stars


class TwoTower(nn.Module):
    def __init__(self, dim=12):
        super().__init__()
        self.user_vec = nn.Embedding(N_USERS, dim, sparse=True)
        self.song_vec = nn.Embedding(N_SONGS, dim, sparse=True)
        self.user_bias = nn.Embedding(N_USERS, 1, sparse=True)
        self.song_bias = nn.Embedding(N_SONGS, 1, sparse=True)
        for table in (self.user_vec, self.song_vec, self.user_bias, self.song_bias):
            nn.init.normal_(table.weight, std=0.2)
        self.mix = nn.Sequential(nn.Linear(dim, 16), nn.SiLU(), nn.Linear(16, 1))

    def forward(self, user, song):
        inter = self.user_vec(user) * self.song_vec(song)
        deep = self.mix(inter) + inter.sum(1, keepdim=True)
        return (deep + self.user_bias(user) + self.song_bias(song)).squeeze(1)

    def tables(self):
        return [p for n, p in self.named_parameters() if not n.startswith("mix")]


def main():
    torch.manual_seed(0)
    user, song, stars = generate(28000, torch.Generator().manual_seed(1))
    train, test = Interactions(user[:24000], song[:24000], stars[:24000]), Interactions(user[24000:], song[24000:], stars[24000:])
    loader = DataLoader(train, batch_size=128, shuffle=True)
    model = TwoTower()
    optimizers = [torch.optim.SparseAdam(model.tables(), lr=4e-3), torch.optim.AdamW(model.mix.parameters(), lr=2e-3)]
    for epoch in range(10):
        model.train()
        total = 0.0
        for u, s, r in loader:
            loss = (model(u, s) - r).square().mean()
            for o in optimizers:
                o.zero_grad()
            loss.backward()
            for o in optimizers:
                o.step()
            total += loss.item() * len(u)
        model.eval()
        with torch.no_grad():
            mse = (model(test.user, test.song) - test.stars).square().mean().item()
        print(f"epoch {epoch}: train mse {total / len(train):.4f}  test mse {mse:.4f}")
    print(f"explained variance of unseen ratings: {1 - mse / test.stars.var().item():.3f}")


if __name__ == "__main__":
    main()
