# fault: memory-growth
# note: The history keeps the loss tensors themselves, with their graphs, for the whole run (the nodes of 300 unrolled GRU graphs alive at the end). Peak memory +147 MB, with .item() +14 MB; R2 0.998 both ways (the fault costs memory, not accuracy).

"""Remaining-life regression on vibration snippets with a GRU; keeps a history of the run for later plots."""
import resource
from collections import defaultdict

import torch
from torch import nn


class History:
    def __init__(self):
        self.values = defaultdict(list)

    def log(self, **kwargs):
        for key, value in kwargs.items():
            self.values[key].append(value)

    def mean(self, key, last):
        tail = self.values[key][-last:]
        return float(sum(tail) / len(tail))


class LifeModel(nn.Module):
    def __init__(self, channels=3, hidden=64):
        super().__init__()
        self.cell = nn.GRUCell(channels, hidden)
        self.head = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, 1))

    def forward(self, x):
        h = x.new_zeros(x.size(0), self.cell.hidden_size)
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
        return self.head(h).squeeze(-1)


def snippets(n, steps=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    wear = torch.rand(n, generator=g)
    t = torch.arange(steps).float()
    tone = torch.sin(0.7 * t[None] + 6.28 * torch.rand(n, 1, generator=g)) * (0.4 + wear[:, None])
    hum = torch.sin((0.2 + 0.5 * wear[:, None]) * t[None])
    rough = torch.randn(n, steps, generator=g) * (0.3 + 0.9 * wear[:, None] ** 2)
    x = torch.stack([tone, hum, rough], -1) / 0.7
    life = (1 - wear - 0.5) / 0.29
    return x, life


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    torch.manual_seed(0)
    x, life = snippets(1600, seed=1)
    xv, lv = snippets(400, seed=2)
    model = LifeModel()
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    history = History()
    batch, start_mb = 32, peak_mb()
    for epoch in range(6):
        model.train()
        order = torch.randperm(len(x))
        for i in range(0, len(x), batch):
            rows = order[i:i + batch]
            loss = nn.functional.smooth_l1_loss(model(x[rows]), life[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            history.log(train_loss=loss)
        model.eval()
        with torch.no_grad():
            pred = model(xv)
            r2 = 1 - ((pred - lv) ** 2).mean() / lv.var(unbiased=False)
        history.log(valid_r2=r2.item())
        print(f"epoch {epoch}  loss {history.mean('train_loss', len(x) // batch):.4f}  R2 {r2:.3f}  "
              f"memory +{peak_mb() - start_mb:.0f} MB")
    print(f"validation R2: {history.values['valid_r2'][-1]:.3f}")


if __name__ == "__main__":
    main()
