# fault: nan-or-inf
# note: euclid() takes the root of a squared distance that is exactly 0 when a recording is paired with itself (the partner may be the anchor), so the backward of sqrt gives 0*inf = NaN within the first epoch. 1-NN accuracy 0.210 (all NaN) with the fault, 1.000 with 1e-8 added under the root.

"""Metric learning for accelerometer gestures: siamese encoder + contrastive margin loss."""
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(21)
N_GESTURES, LENGTH = 6, 40


def gestures(n, protos, gen):
    y = torch.randint(N_GESTURES, (n,), generator=gen)
    amp = 0.8 + 0.4 * torch.rand(n, 1, 1, generator=gen)
    shift = torch.randint(0, 8, (n,), generator=gen)
    x = torch.stack([torch.roll(protos[c], int(s), dims=-1) for c, s in zip(y, shift)])
    return amp * x + 0.25 * torch.randn(n, 3, LENGTH, generator=gen), y


class PairDataset(Dataset):
    """Returns (anchor, partner, same?) with half of the pairs from one gesture."""

    def __init__(self, x, y):
        self.x, self.y = x, y
        self.by_class = [torch.nonzero(y == c).flatten() for c in range(N_GESTURES)]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        c = int(self.y[i])
        same = torch.rand(()) < 0.5
        if not same:
            c = (c + int(torch.randint(1, N_GESTURES, ()))) % N_GESTURES
        pool = self.by_class[c]
        j = pool[torch.randint(len(pool), ())]
        return self.x[i], self.x[j], same.float()


class Encoder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(3, 24, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(24, 32, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(4), nn.Flatten(),
            nn.Linear(128, dim))

    def forward(self, x):
        return self.body(x)


def euclid(a, b):
    return ((a - b) ** 2).sum(dim=1).sqrt()


def contrastive(d, same, margin=2.0):
    pull = same * d ** 2
    push = (1 - same) * torch.clamp(margin - d, min=0) ** 2
    return (pull + push).mean()


@torch.no_grad()
def nearest_neighbour_acc(enc, gallery, gy, query, qy):
    enc.eval()
    a, b = enc(query), enc(gallery)
    d = (a[:, None] - b[None]).pow(2).sum(-1)
    return (gy[d.argmin(1)] == qy).float().mean().item()


gen = torch.Generator().manual_seed(4)
t = torch.linspace(0, 6.28, LENGTH)
protos = torch.stack([torch.stack([torch.sin(f * t + p) for f, p in zip(
    torch.randint(1, 4, (3,), generator=gen), 6.28 * torch.rand(3, generator=gen))]) for _ in range(N_GESTURES)])
x_tr, y_tr = gestures(900, protos, gen)
x_te, y_te = gestures(300, protos, gen)
std = x_tr.std()
x_tr, x_te = x_tr / std, x_te / std

enc = Encoder()
opt = torch.optim.Adam(enc.parameters(), lr=1e-3)
loader = DataLoader(PairDataset(x_tr, y_tr), batch_size=50, shuffle=True)
for epoch in range(12):
    enc.train()
    tot = 0.0
    for a, b, same in loader:
        loss = contrastive(euclid(enc(a), enc(b)), same)
        opt.zero_grad()
        loss.backward()
        opt.step()
        tot += loss.item()
    print(f"epoch {epoch:2d} contrastive {tot / len(loader):.4f}")
print(f"1-NN accuracy on new recordings: {nearest_neighbour_acc(enc, x_tr, y_tr, x_te, y_te):.3f}")
