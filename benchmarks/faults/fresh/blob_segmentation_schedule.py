# fault: lr-zero
# note: ExponentialLR(gamma=0.85), meant per epoch, is stepped per batch; lr is 0 after the second epoch (30 batches an epoch). IoU 0.479 (nothing learnt after epoch 1); stepped per epoch 0.83.

"""Toy nuclei segmentation: fully convolutional net, Dice + BCE, exponential decay."""
import time

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Nuclei(Dataset):
    def __init__(self, count, size=32, seed=0):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[:size, :size]
        self.images, self.masks = [], []
        for _ in range(count):
            mask = np.zeros((size, size), bool)
            for _ in range(rng.integers(2, 6)):
                cy, cx = rng.uniform(3, size - 3, 2)
                a, b = rng.uniform(2.0, 5.0, 2)
                mask |= ((yy - cy) / a) ** 2 + ((xx - cx) / b) ** 2 < 1
            bg = rng.normal(size=(4, 4)).repeat(8, 0).repeat(8, 1) * 0.3
            img = mask * 1.2 + bg + rng.normal(size=mask.shape) * 0.4
            self.images.append(((img - img.mean()) / img.std()).astype(np.float32))
            self.masks.append(mask.astype(np.float32))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i])[None], torch.from_numpy(self.masks[i])[None]


class FCN(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, ch, 3, padding=1), nn.LeakyReLU(0.1), nn.AvgPool2d(2),
                                  nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.LeakyReLU(0.1),
                                  nn.Conv2d(2 * ch, 2 * ch, 3, padding=1), nn.LeakyReLU(0.1))
        self.up = nn.ConvTranspose2d(2 * ch, ch, 2, stride=2)
        self.skip = nn.Conv2d(1, ch, 3, padding=1)
        self.last = nn.Conv2d(ch, 1, 3, padding=1)

    def forward(self, x):
        return self.last(torch.nn.functional.leaky_relu(self.up(self.down(x)) + self.skip(x), 0.1))


def dice(logits, mask, eps=1.0):
    p = logits.sigmoid()
    inter = (p * mask).sum((1, 2, 3))
    return 1 - ((2 * inter + eps) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + eps)).mean()


def iou(logits, mask):
    pred, mask = logits > 0, mask > 0.5
    return ((pred & mask).sum() / (pred | mask).sum()).item()


def main():
    torch.manual_seed(0)
    train_dl = DataLoader(Nuclei(480, seed=1), batch_size=16, shuffle=True, num_workers=1, persistent_workers=True)
    val = [t for t in next(iter(DataLoader(Nuclei(120, seed=2), batch_size=120)))]
    net = FCN()
    opt = torch.optim.Adam(net.parameters(), lr=6e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.85)
    bce = nn.BCEWithLogitsLoss()
    t0 = time.time()
    for epoch in range(10):
        net.train()
        meter = 0.0
        for img, mask in train_dl:
            out = net(img)
            loss = bce(out, mask) + dice(out, mask)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            meter += loss.item()
        net.eval()
        with torch.no_grad():
            score = iou(net(val[0]), val[1])
        print(f"{epoch}: loss {meter / len(train_dl):.3f}, IoU {score:.3f}, {time.time() - t0:.0f}s")
    print("final IoU %.3f" % score)


if __name__ == "__main__":
    main()
