# fault: none
# near: gradients-not-cleared
# note: Loss on the input gradient of an energy (double backward through autograd.grad), IterableDataset; force R2
# 0.995.
"""Learn a potential energy surface from forces alone (a miniature machine-learned force field)."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


def true_potential(q):
    x, y = q[..., 0], q[..., 1]
    double_well = (x ** 2 - 1) ** 2
    return double_well + 1.5 * (y - 0.3 * x) ** 2 + 0.4 * torch.sin(3 * x * y)


def true_force(q):
    q = q.detach().requires_grad_(True)
    f, = torch.autograd.grad(true_potential(q).sum(), q)
    return -f


class Configurations(IterableDataset):
    def __init__(self, n, seed, noise=0.02):
        self.n, self.seed, self.noise = n, seed, noise

    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed)
        for _ in range(self.n):
            q = torch.rand(16, 2, generator=g) * 3 - 1.5
            f = true_force(q) + self.noise * torch.randn(16, 2, generator=g)
            yield q, f


class Potential(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.register_buffer("freq", torch.tensor([1.0, 2.0, 3.0]))
        self.mlp = nn.Sequential(
            nn.Linear(2 + 4 * 3, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 1, bias=False),
        )

    def energy(self, q):
        phase = q[..., None] * self.freq
        feats = torch.cat([q, phase.sin().flatten(-2), phase.cos().flatten(-2)], -1)
        return self.mlp(feats).squeeze(-1)

    def forward(self, q):
        q = q.detach().requires_grad_(True)
        e = self.energy(q)
        grad, = torch.autograd.grad(e.sum(), q, create_graph=self.training)
        return e.detach(), -grad


def force_r2(model, q, f):
    model.eval()
    _, pred = model(q)
    model.train()
    return (1 - ((pred - f) ** 2).sum() / ((f - f.mean(0)) ** 2).sum()).item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--batches", type=int, default=600)
    ap.add_argument("--lr", type=float, default=3e-3)
    args = ap.parse_args()
    torch.manual_seed(0)
    model = Potential()
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-4)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, args.batches, eta_min=1e-4)
    loader = DataLoader(Configurations(8 * args.batches, seed=1), batch_size=8)
    gq = torch.rand(2000, 2, generator=torch.Generator().manual_seed(2)) * 3 - 1.5
    gf = true_force(gq)
    for i, (q, f) in enumerate(loader):
        _, pred = model(q.flatten(0, 1))
        loss = nn.functional.mse_loss(pred, f.flatten(0, 1))
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        if (i + 1) % 60 == 0:
            print(f"batch {i + 1:4d} force mse {loss.item():.4f} R2 {force_r2(model, gq, gf):.4f}")


if __name__ == "__main__":
    main()
