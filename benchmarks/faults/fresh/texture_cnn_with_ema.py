# fault: ema-stale
# note: the EMA update uses out-of-place mul/add and drops the result, so the averaged parameters stay at their start (the BatchNorm buffers are copied properly); shipped model 0.170, with mul_/add_ 0.965.

"""Texture orientation classifier; the averaged weights are what we ship."""
import copy
import math

import torch
from torch import nn


def textures(n, seed):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    label = torch.randint(6, (n,), generator=g)
    ang = label * math.pi / 6 + 0.12 * torch.randn(n, generator=g)
    freq = 0.7 + 0.5 * torch.rand(n, generator=g)
    phase = 2 * math.pi * torch.rand(n, generator=g)
    u = torch.cos(ang)[:, None, None] * xx + torch.sin(ang)[:, None, None] * yy
    img = torch.sin(freq[:, None, None] * u + phase[:, None, None]) + 0.8 * torch.randn(n, 20, 20, generator=g)
    return (img / img.std()).unsqueeze(1), label


class ModelEMA:
    def __init__(self, model, decay):
        self.module = copy.deepcopy(model).eval()
        self.decay = decay
        for p in self.module.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for avg, cur in zip(self.module.parameters(), model.parameters()):
            avg.mul(self.decay).add(cur, alpha=1.0 - self.decay)
        for avg, cur in zip(self.module.buffers(), model.buffers()):
            avg.copy_(cur)


def conv_bn(i, o, s):
    return nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


torch.manual_seed(12)
x_train, y_train = textures(2400, 0)
x_test, y_test = textures(600, 1)
model = nn.Sequential(conv_bn(1, 12, 1), conv_bn(12, 16, 2), conv_bn(16, 24, 2), conv_bn(24, 24, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 6))
ema = ModelEMA(model, decay=0.97)
opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(6):
    model.train()
    tot = 0.0
    for idx in torch.randperm(len(x_train)).split(48):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x_train[idx]), y_train[idx])
        loss.backward()
        opt.step()
        ema.update(model)
        tot += loss.item() / 50
    print(f"epoch {epoch}: loss {tot:.4f}  raw {accuracy(model, x_test, y_test):.4f}")
print(f"shipped model: accuracy {accuracy(ema.module, x_test, y_test):.4f}")
