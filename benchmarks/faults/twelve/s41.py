# fault: gradients-not-cleared
# accept: loss-diverging, exploding-gradient
# note: The discriminator's optimizer is never zeroed, so its own old gradients and the generator pass's accumulate:
# energy distance 0.4-68 against 0.02 with d_opt.zero_grad().

# DCGAN-flavoured training on a 2-d swiss roll; G and D are small MLPs
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_swiss_roll

p = argparse.ArgumentParser()
p.add_argument("--iters", type=int, default=700)
p.add_argument("--bs", type=int, default=128)
p.add_argument("--zdim", type=int, default=4)
p.add_argument("--lr", type=float, default=1e-3)
p.add_argument("--seed", type=int, default=0)
a = p.parse_args()
torch.manual_seed(a.seed)

roll, _ = make_swiss_roll(4000, noise=0.25, random_state=a.seed)
roll = torch.tensor(roll[:, [0, 2]] / 7.5, dtype=torch.float32)


def mlp(i, o, w=96):
    return nn.Sequential(nn.Linear(i, w), nn.LeakyReLU(0.2), nn.Linear(w, w), nn.LeakyReLU(0.2), nn.Linear(w, o))


G, D = mlp(a.zdim, 2), mlp(2, 1)
g_opt = torch.optim.Adam(G.parameters(), lr=a.lr, betas=(0.5, 0.999))
d_opt = torch.optim.Adam(D.parameters(), lr=a.lr, betas=(0.5, 0.999))


def distance(n=1000):
    """Energy distance between generated and real samples."""
    with torch.no_grad():
        f = G(torch.randn(n, a.zdim))
        r = roll[torch.randint(0, len(roll), (n,))]
        s = roll[torch.randint(0, len(roll), (n,))]
        g = G(torch.randn(n, a.zdim))
        return (2 * torch.cdist(f, r).mean() - torch.cdist(f, g).mean() - torch.cdist(r, s).mean()).item()


ones, zeros = torch.ones(a.bs, 1), torch.zeros(a.bs, 1)
for it in range(1, a.iters + 1):
    real = roll[torch.randint(0, len(roll), (a.bs,))]
    fake = G(torch.randn(a.bs, a.zdim))

    # D step: tell real from fake
    d_loss = F.binary_cross_entropy_with_logits(D(real), ones) + F.binary_cross_entropy_with_logits(D(fake.detach()), zeros)
    d_loss.backward()
    d_opt.step()

    # G step: fool D
    g_loss = F.binary_cross_entropy_with_logits(D(fake), ones)
    g_opt.zero_grad()
    g_loss.backward()
    g_opt.step()

    if it % 50 == 0:
        print(f"{it:5d} d {d_loss.item():.3f} g {g_loss.item():.3f} energy distance {distance():.4f}")
