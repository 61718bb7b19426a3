# fault: none
# near: gradients-not-cleared
# note: sliced W1 0.08 from 0.89 untrained (two real samples: 0.03). The generator's backward leaves gradients in the critic, but opt_d.zero_grad() precedes each critic backward; double backward for the penalty; adversarial losses need not fall.

import torch
from torch import nn, autograd

# WGAN-GP on eight Gaussians arranged in a ring (after Gulrajani et al.)
torch.manual_seed(6)
N_CRITIC, LAMBDA, BATCH, Z = 4, 0.1, 192, 4


def real_batch(n):
    ang = torch.randint(0, 8, (n,)) * (3.14159265 / 4)
    return torch.stack([ang.cos(), ang.sin()], 1) * 1.4 + 0.12 * torch.randn(n, 2)


def mlp(i, o, h=64):
    return nn.Sequential(nn.Linear(i, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, o))


def sliced_wasserstein(a, b, k=64):
    proj = nn.functional.normalize(torch.randn(2, k), dim=0)
    return ((a @ proj).sort(0).values - (b @ proj).sort(0).values).abs().mean().item()


G, D = mlp(Z, 2), mlp(2, 1)
opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.9))
opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.9))

STEPS = 800
decay_g, decay_d = (torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.1, total_iters=STEPS) for o in (opt_g, opt_d))


def gradient_penalty(real, fake):
    eps = torch.rand(len(real), 1)
    mix = (eps * real + (1 - eps) * fake).requires_grad_(True)
    score = D(mix)
    grad, = autograd.grad(score.sum(), mix, create_graph=True)
    return (grad.norm(dim=1) - 1).pow(2).mean()


for it in range(STEPS):
    for _ in range(N_CRITIC if it > 10 else 12):
        real = real_batch(BATCH)
        with torch.no_grad():
            fake = G(torch.randn(BATCH, Z))
        opt_d.zero_grad()
        wd = D(real).mean() - D(fake).mean()
        (LAMBDA * gradient_penalty(real, fake) - wd).backward()
        opt_d.step()

    opt_g.zero_grad()
    g_loss = -D(G(torch.randn(BATCH, Z))).mean()
    g_loss.backward()
    opt_g.step()
    decay_g.step()
    decay_d.step()

    if it % 150 == 0 or it == STEPS - 1:
        with torch.no_grad():
            swd = sliced_wasserstein(G(torch.randn(2000, Z)), real_batch(2000))
        print(f"{it:4d}  critic estimate {wd.item():.3f}  G {g_loss.item():+.3f}  sliced W1 {swd:.3f}")

with torch.no_grad():
    floor = sliced_wasserstein(real_batch(2000), real_batch(2000))
    start = sliced_wasserstein(mlp(Z, 2)(torch.randn(2000, Z)), real_batch(2000))
    swd = sum(sliced_wasserstein(G(torch.randn(2000, Z)), real_batch(2000)) for _ in range(5)) / 5
print(f"sliced W1: untrained {start:.3f}, trained {swd:.3f}, two real samples {floor:.3f}")
