# fault: none
# near: target-leakage
# note: 95 % of hidden notes of unseen melodies recovered (chance 4 %). Bidirectional encoder with masked targets: only hidden positions count, melodies are unique and split. Warm-up and linear decay per batch as meant.

"""BERT-style infilling of melodies: hide notes, let a bidirectional encoder name them."""
import torch
import torch.nn as nn
import torch.nn.functional as F

NOTES, MASK, T = 24, 24, 12


def melodies(n, seed):
    """Two runs of six notes; each run climbs or falls by a fixed interval. No melody appears twice."""
    g = torch.Generator().manual_seed(seed)
    intervals = torch.tensor([-5, -3, -2, -1, 1, 2, 3, 5])
    start = torch.randint(NOTES, (2 * n, 2, 1), generator=g)
    stride = intervals[torch.randint(8, (2 * n, 2, 1), generator=g)]
    runs = ((start + stride * torch.arange(T // 2)) % NOTES).flatten(1)
    runs = torch.unique(runs, dim=0)
    return runs[torch.randperm(len(runs), generator=g)[:n]]


def hide(x, rate=0.2):
    hole = torch.rand(x.shape) < rate
    hole[torch.arange(len(x)), torch.randint(T, (len(x),))] = True
    return x.masked_fill(hole, MASK), x.masked_fill(~hole, -100)


class Infiller(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.note = nn.Embedding(NOTES + 1, d)
        self.where = nn.Embedding(T, d)
        layer = nn.TransformerEncoderLayer(d, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, NOTES))

    def forward(self, x):
        return self.out(self.encoder(self.note(x) + self.where.weight))


def main():
    torch.manual_seed(10)
    data, unseen = melodies(4000, 1).split([3200, 800])
    model = Infiller()
    for p in (model.note.weight, model.where.weight):
        nn.init.normal_(p, std=0.3)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    steps = 12 * 50
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s + 1) / 60) * max(0.05, 1 - s / steps))
    for epoch in range(12):
        model.train()
        tot = n = 0
        for idx in torch.randperm(len(data)).split(64):
            seen, target = hide(data[idx])
            loss = F.cross_entropy(model(seen).flatten(0, 1), target.flatten(), ignore_index=-100)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            tot, n = tot + loss.item(), n + 1
        print(f"epoch {epoch}: masked loss {tot / n:.3f}")
    model.eval()
    seen, target = hide(unseen)
    with torch.no_grad():
        guess = model(seen).argmax(-1)
    hit = guess[target >= 0] == target[target >= 0]
    print(f"hidden notes recovered: {hit.float().mean().item():.3f}")


main()
