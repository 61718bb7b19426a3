# fault: exploding-gradient
# accept: loss-diverging
# note: WGAN critic without any Lipschitz constraint: the weight clamp after opt_c.step() was forgotten (--clip-value is read but never used), so critic and generator gradient norms grow steadily from 0.2 to 1e5 (with the clamp they stay at 2-5). Energy distance 0.211 with the fault, 0.025 without.

"""Wasserstein GAN (Arjovsky et al. 2017) for short damped oscillations, as used to fill up a vibration data set.

    python waveform_wgan_rmsprop.py --iterations 700
"""
import argparse
import csv
import math
import sys

import torch
from torch import nn

LENGTH = 48


def sample_waveforms(n):
    t = torch.linspace(0, 1, LENGTH)
    freq = 2 + 3 * torch.rand(n, 1)
    phase = 2 * math.pi * torch.rand(n, 1)
    decay = 0.5 + 2 * torch.rand(n, 1)
    return torch.exp(-decay * t) * torch.sin(2 * math.pi * freq * t + phase) + 0.02 * torch.randn(n, LENGTH)


def mlp(*sizes):
    layers = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers.append(nn.Linear(a, b))
        if i < len(sizes) - 2:
            layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers)


def energy_distance(a, b):
    n, m = len(a), len(b)
    within_a = torch.cdist(a, a).sum() / (n * (n - 1))
    within_b = torch.cdist(b, b).sum() / (m * (m - 1))
    return (2 * torch.cdist(a, b).mean() - within_a - within_b).item()


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--iterations", type=int, default=700)
    p.add_argument("--n-critic", type=int, default=5)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--latent", type=int, default=12)
    p.add_argument("--clip-value", type=float, default=0.05)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


def main():
    args = parse()
    torch.manual_seed(args.seed)
    generator = mlp(args.latent, 96, 96, LENGTH)
    critic = mlp(LENGTH, 96, 96, 96, 1)
    opt_g = torch.optim.RMSprop(generator.parameters(), lr=args.lr)
    opt_c = torch.optim.RMSprop(critic.parameters(), lr=args.lr)
    log = csv.writer(sys.stdout)
    log.writerow(["iteration", "critic_loss", "generator_loss"])

    for iteration in range(1, args.iterations + 1):
        for _ in range(args.n_critic):
            real = sample_waveforms(args.batch)
            fake = generator(torch.randn(args.batch, args.latent)).detach()
            critic_loss = critic(fake).mean() - critic(real).mean()
            opt_c.zero_grad()
            critic_loss.backward()
            opt_c.step()

        generator_loss = -critic(generator(torch.randn(args.batch, args.latent))).mean()
        opt_g.zero_grad()
        generator_loss.backward()
        opt_g.step()

        if iteration % 100 == 0:
            log.writerow([iteration, f"{critic_loss.item():.4g}", f"{generator_loss.item():.4g}"])

    with torch.no_grad():
        generated = generator(torch.randn(1500, args.latent))
        distance = energy_distance(generated, sample_waveforms(1500))
        untrained = energy_distance(torch.zeros(1500, LENGTH), sample_waveforms(1500))
    print(f"energy distance to real waveforms: {distance:.4f} (all-zero waveforms: {untrained:.4f})")


if __name__ == "__main__":
    main()
