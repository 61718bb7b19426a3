# fault: none
# near: constant-output
# note: Zero-initialised modulation and final layers (adaLN-zero): the output is 0 for all inputs at the first step only. Samples lie .046 from the moons (unit scale); eps-MSE falls to .375.

"""Minimal DDPM on scikit-learn's two moons; adaLN-style blocks whose output layers start at zero."""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
from sklearn.datasets import make_moons


@dataclass
class Setup:
    n_timesteps: int = 50
    width: int = 64
    n_blocks: int = 3
    batch: int = 128
    steps: int = 900
    lr: float = 2e-3


def timestep_features(t, dim=32):
    freq = torch.exp(-math.log(200.0) * torch.arange(dim // 2) / (dim // 2))
    ang = t[:, None].float() * freq
    return torch.cat([ang.sin(), ang.cos()], 1)


class AdaBlock(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.norm = nn.LayerNorm(w, elementwise_affine=False)
        self.mod = nn.Linear(w, 3 * w)
        self.ff = nn.Sequential(nn.Linear(w, 2 * w), nn.GELU(), nn.Linear(2 * w, w))
        nn.init.zeros_(self.mod.weight)
        nn.init.zeros_(self.mod.bias)

    def forward(self, h, c):
        shift, scale, gate = self.mod(c).chunk(3, dim=1)
        return h + gate * self.ff(self.norm(h) * (1 + scale) + shift)


class Denoiser(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.inp = nn.Linear(2, s.width)
        self.time = nn.Sequential(nn.Linear(32, s.width), nn.SiLU())
        self.blocks = nn.ModuleList(AdaBlock(s.width) for _ in range(s.n_blocks))
        self.final = nn.Linear(s.width, 2)
        nn.init.zeros_(self.final.weight)
        nn.init.zeros_(self.final.bias)

    def forward(self, x, t):
        c = self.time(timestep_features(t))
        h = self.inp(x)
        for b in self.blocks:
            h = b(h, c)
        return self.final(h)


def main():
    s = Setup()
    torch.manual_seed(0)
    beta = torch.linspace(1e-3, 0.15, s.n_timesteps)
    abar = torch.cumprod(1 - beta, 0)
    pts, _ = make_moons(4000, noise=0.05, random_state=0)
    data = torch.tensor((pts - pts.mean(0)) / pts.std(0), dtype=torch.float32)
    net = Denoiser(s)
    opt = torch.optim.Adam(net.parameters(), lr=s.lr)
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda k: min(1, (k + 1) / 50) * 0.5 * (1 + math.cos(math.pi * k / s.steps)))
    run = []
    for k in range(s.steps):
        x0 = data[torch.randint(len(data), (s.batch,))]
        t = torch.randint(s.n_timesteps, (s.batch,))
        eps = torch.randn_like(x0)
        a = abar[t][:, None]
        loss = ((net(a.sqrt() * x0 + (1 - a).sqrt() * eps, t) - eps) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        warm.step()
        run.append(loss.item())
        if (k + 1) % 150 == 0:
            print(f"{k + 1:5d}  eps-mse {sum(run[-150:]) / 150:.4f}")

    net.eval()
    with torch.no_grad():
        x = torch.randn(1000, 2)
        for t in reversed(range(s.n_timesteps)):
            e = net(x, torch.full((1000,), t))
            x = (x - beta[t] / (1 - abar[t]).sqrt() * e) / (1 - beta[t]).sqrt()
            if t:
                x = x + beta[t].sqrt() * torch.randn_like(x)
        nearest = torch.cdist(x, data).min(1).values
        reverse = torch.cdist(data, x).min(1).values
    print(f"mean distance of a sample to the moons {nearest.mean():.3f}; of the moons to a sample {reverse.mean():.3f}")


if __name__ == "__main__":
    main()
