# fault: duplicate-parameter
# note: The generator's optimizer is built over the stacked model (generator + discriminator) as in Keras, so the discriminator's parameters are in two optimizers and are stepped by both, with opposite aims. Energy distance 929 with the fault (diverges), 0.0085 with generator.parameters().

"""GAN on a ring of Gaussians, ported from my old Keras notebook."""
import math

import torch
import torch.nn as nn

torch.manual_seed(5)
LATENT = 8
BATCH = 128
STEPS = 2500


def real_batch(n):
    k = torch.randint(0, 6, (n,))
    angle = 2 * math.pi * k / 6
    centre = torch.stack([angle.cos(), angle.sin()], dim=1)
    return 1.4 * centre + 0.1 * torch.randn(n, 2)


def build_generator():
    return nn.Sequential(
        nn.Linear(LATENT, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 2),
    )


def build_discriminator():
    return nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 1),
    )


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


generator = build_generator()
discriminator = build_discriminator()
combined = nn.Sequential(generator, discriminator)

bce = nn.BCEWithLogitsLoss()
d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
g_optimizer = torch.optim.Adam(combined.parameters(), lr=1e-3, betas=(0.5, 0.999))

ones = torch.ones(BATCH, 1)
zeros = torch.zeros(BATCH, 1)

for step in range(1, STEPS + 1):
    # --- discriminator: half real, half generated
    with torch.no_grad():
        fake = generator(torch.randn(BATCH, LATENT))
    d_optimizer.zero_grad()
    d_loss = 0.5 * (bce(discriminator(real_batch(BATCH)), ones) + bce(discriminator(fake), zeros))
    d_loss.backward()
    d_optimizer.step()

    # --- generator, through the stacked model
    g_optimizer.zero_grad()
    g_loss = bce(combined(torch.randn(BATCH, LATENT)), ones)
    g_loss.backward()
    g_optimizer.step()

    if step % 250 == 0:
        with torch.no_grad():
            ed = energy_distance(generator(torch.randn(1000, LATENT)), real_batch(1000))
        print(f"{step:5d}  d {d_loss.item():.3f}  g {g_loss.item():.3f}  energy distance {ed:.4f}")

with torch.no_grad():
    final = energy_distance(generator(torch.randn(4000, LATENT)), real_batch(4000))
print(f"final energy distance: {final:.4f}")
