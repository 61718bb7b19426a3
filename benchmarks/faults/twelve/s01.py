# fault: none
# near: gradients-not-cleared
# note: WGAN-GP: alternating optimizers, double backward, critic gradients left from the generator pass are cleared
# before use; energy distance about 0.01.
"""WGAN with gradient penalty on a 2-d mixture of Gaussians."""
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch import autograd


@dataclass
class Options:
    z_dim: int = 6
    batch: int = 128
    n_critic: int = 4
    iterations: int = 300
    lam: float = 1.0
    lr: float = 2e-3


def grid_mixture(n):
    k = torch.randint(0, 9, (n,))
    centre = torch.stack([(k % 3 - 1).float(), (k // 3 - 1).float()], 1)
    return centre + 0.1 * torch.randn(n, 2)


def net(i, o, w=96, out_bias=True):
    return nn.Sequential(
        nn.Linear(i, w), nn.LeakyReLU(0.2),
        nn.Linear(w, w), nn.LeakyReLU(0.2),
        nn.Linear(w, o, bias=out_bias),
    )


def energy_distance(a, b, c, d):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, c).mean() - torch.cdist(b, d).mean()).item()


class WGANGP:
    def __init__(self, opt: Options):
        self.opt = opt
        self.G = net(opt.z_dim, 2)
        self.C = net(2, 1, out_bias=False)
        self.g_optim = torch.optim.Adam(self.G.parameters(), lr=opt.lr, betas=(0.0, 0.9))
        self.c_optim = torch.optim.Adam(self.C.parameters(), lr=opt.lr, betas=(0.0, 0.9))

    def noise(self, n):
        return torch.randn(n, self.opt.z_dim)

    def penalty(self, real, fake):
        t = torch.rand(len(real), 1)
        x = (t * real + (1 - t) * fake).requires_grad_(True)
        out = self.C(x)
        grad, = autograd.grad(out, x, grad_outputs=torch.ones_like(out), create_graph=True)
        return ((grad.norm(2, dim=1) - 1) ** 2).mean()

    def critic_step(self):
        real = grid_mixture(self.opt.batch)
        with torch.no_grad():
            fake = self.G(self.noise(self.opt.batch))
        self.c_optim.zero_grad()
        w = self.C(real).mean() - self.C(fake).mean()
        loss = -w + self.opt.lam * self.penalty(real, fake)
        loss.backward()
        self.c_optim.step()
        return w.item()

    def generator_step(self):
        self.g_optim.zero_grad()
        loss = -self.C(self.G(self.noise(self.opt.batch))).mean()
        loss.backward()
        self.g_optim.step()
        return loss.item()

    def train(self):
        for it in range(1, self.opt.iterations + 1):
            for _ in range(self.opt.n_critic):
                w = self.critic_step()
            g = self.generator_step()
            if it % 25 == 0:
                with torch.no_grad():
                    d = energy_distance(self.G(self.noise(800)), grid_mixture(800), self.G(self.noise(800)), grid_mixture(800))
                print(f"{it:4d}  W {w:.4f}  G {g:.4f}  energy distance {d:.4f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    WGANGP(Options()).train()
