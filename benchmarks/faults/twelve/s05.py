# fault: exploding-gradient
# accept: loss-diverging
# note: WGAN critic with no Lipschitz constraint: critic and generator gradient norms grow from 0.5 to 1e4 and more,
# the losses likewise, samples stay far off; a gradient penalty term fixes it.
import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(7)
np.random.seed(7)

nz = 8
batchSize = 128
nCritic = 5
nIter = 375
lrD = 3e-3
lrG = 3e-3

# eight Gaussians on a ring
angles = np.arange(8) * 2 * np.pi / 8
centers = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1) * 2, dtype=torch.float32)


def real_batch(n):
    k = torch.randint(0, 8, (n,))
    return centers[k] + 0.05 * torch.randn(n, 2)


netG = nn.Sequential(
    nn.Linear(nz, 64), nn.LeakyReLU(0.2),
    nn.Linear(64, 64), nn.LeakyReLU(0.2),
    nn.Linear(64, 2),
)
netD = nn.Sequential(
    nn.Linear(2, 64), nn.LeakyReLU(0.2),
    nn.Linear(64, 64), nn.LeakyReLU(0.2),
    nn.Linear(64, 64), nn.LeakyReLU(0.2),
    nn.Linear(64, 1, bias=False),
)

optimizerD = torch.optim.Adam(netD.parameters(), lr=lrD, betas=(0.5, 0.9))
optimizerG = torch.optim.Adam(netG.parameters(), lr=lrG, betas=(0.5, 0.9))


def sliced_w(a, b, n_proj=64):
    d = torch.randn(2, n_proj)
    d = d / d.norm(dim=0)
    return ((a @ d).sort(0)[0] - (b @ d).sort(0)[0]).abs().mean().item()


for it in range(nIter):
    # critic
    for _ in range(nCritic):
        real = real_batch(batchSize)
        fake = netG(torch.randn(batchSize, nz)).detach()
        errD = netD(fake).mean() - netD(real).mean()
        netD.zero_grad()
        errD.backward()
        optimizerD.step()

    # generator
    fake = netG(torch.randn(batchSize, nz))
    errG = -netD(fake).mean()
    netG.zero_grad()
    errG.backward()
    optimizerG.step()

    if it % 25 == 24:
        with torch.no_grad():
            sw = sliced_w(netG(torch.randn(1000, nz)), real_batch(1000))
        print('[%d/%d] Loss_D: %.4f Loss_G: %.4f  SW: %.4f' % (it + 1, nIter, errD.item(), errG.item(), sw))
