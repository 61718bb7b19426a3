# fault: none
# near: train-test-overlap
# note: PSNR 37.7 dB. All pixels are fitted and the same pixels are evaluated, on purpose (image compression by a coordinate network, full batch).

"""Store a picture in the weights of a small network (Fourier features, Tancik et al. 2020).

There is nothing to generalise to: all pixels are fitted, and the file is judged by the PSNR of all pixels.
"""
import math

import torch
from sklearn.datasets import load_sample_image
from torch import nn


def picture(size=64):
    img = torch.tensor(load_sample_image("flower.jpg").copy(), dtype=torch.float32).permute(2, 0, 1) / 255
    side = min(img.shape[1:])
    img = img[:, :side, 100:100 + side]
    return nn.functional.interpolate(img[None], size=(size, size), mode="area")[0]


class FourierNet(nn.Module):
    def __init__(self, features=64, width=96, scale=4.0):
        super().__init__()
        self.register_buffer("freq", torch.randn(2, features) * scale)
        self.mlp = nn.Sequential(
            nn.Linear(2 * features, width), nn.GELU(),
            nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, 3), nn.Sigmoid(),
        )

    def forward(self, xy):
        z = 2 * math.pi * xy @ self.freq
        return self.mlp(torch.cat([z.sin(), z.cos()], dim=-1))


def psnr(net, xy, rgb):
    net.eval()
    with torch.no_grad():
        return -10 * math.log10((net(xy) - rgb).square().mean().item())


torch.manual_seed(0)
image = picture()
h, w = image.shape[1:]
grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij"), dim=-1)
xy, rgb = grid.reshape(-1, 2), image.permute(1, 2, 0).reshape(-1, 3)

net = FourierNet()
optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.997)
for it in range(1, 501):
    net.train()
    loss = (net(xy) - rgb).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    decay.step()
    if it % 100 == 0:
        print(f"{it:4d}  mse {loss.item():.5f}  psnr {psnr(net, xy, rgb):.2f} dB")
print(f"psnr of the stored picture: {psnr(net, xy, rgb):.2f} dB")
