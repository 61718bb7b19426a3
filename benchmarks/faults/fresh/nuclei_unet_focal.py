# fault: double-sigmoid
# note: The network returns sigmoid(logits) and the hand-written focal loss applies sigmoid again, so p lies in [0.5, 0.73]. Focal loss stalls at 0.084, IoU 0.827 with the fault; 0.0039 and 0.876 without the second sigmoid.

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class FakeMicroscopy(Dataset):
    """Bright blobs ("nuclei") on an uneven background; the mask marks the blobs."""

    def __init__(self, count, size=32, seed=0):
        gen = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
        self.images, self.masks = [], []
        for _ in range(count):
            ramp = torch.rand(2, generator=gen) - 0.5
            img = 0.02 * (ramp[0] * yy + ramp[1] * xx)
            mask = torch.zeros(size, size)
            for _ in range(int(torch.randint(2, 5, (1,), generator=gen))):
                cy, cx, ry, rx = torch.rand(4, generator=gen)
                cy, cx, ry, rx = 4 + cy * 24, 4 + cx * 24, 2 + 2.5 * ry, 2 + 2.5 * rx
                mask = torch.maximum(mask, (((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2 <= 1).float())
            img = img + mask * 0.9 + 0.45 * torch.randn(size, size, generator=gen)
            self.images.append(img[None])
            self.masks.append(mask[None])
        self.images = torch.stack(self.images)
        self.images = (self.images - self.images.mean()) / self.images.std()
        self.masks = torch.stack(self.masks)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": self.images[index], "mask": self.masks[index]}


class DoubleConv(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
            nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.block(x)


class MiniUNet(nn.Module):
    def __init__(self, base=8):
        super().__init__()
        self.down1 = DoubleConv(1, base)
        self.down2 = DoubleConv(base, 2 * base)
        self.mid = DoubleConv(2 * base, 2 * base)
        self.up2 = DoubleConv(4 * base, base)
        self.up1 = DoubleConv(2 * base, base)
        self.out = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        d1 = self.down1(x)
        d2 = self.down2(F.max_pool2d(d1, 2))
        m = self.mid(F.max_pool2d(d2, 2))
        u2 = self.up2(torch.cat([F.interpolate(m, scale_factor=2.0), d2], dim=1))
        u1 = self.up1(torch.cat([F.interpolate(u2, scale_factor=2.0), d1], dim=1))
        return torch.sigmoid(self.out(u1))


def focal_loss(pred, target, alpha=0.5, gamma=2.0):
    """Lin et al. 2017, eq. 5."""
    p = torch.sigmoid(pred)
    ce = F.binary_cross_entropy(p, target, reduction="none")
    p_t = p * target + (1 - p) * (1 - target)
    alpha_t = alpha * target + (1 - alpha) * (1 - target)
    return (alpha_t * (1 - p_t) ** gamma * ce).mean()


def iou(model, loader):
    model.eval()
    inter = union = 0.0
    with torch.no_grad():
        for batch in loader:
            hard = model(batch["image"]) > 0.5
            truth = batch["mask"] > 0.5
            inter += (hard & truth).sum().item()
            union += (hard | truth).sum().item()
    return inter / max(union, 1.0)


def main():
    torch.manual_seed(8)
    train = DataLoader(FakeMicroscopy(480, seed=1), batch_size=16, shuffle=True)
    val = DataLoader(FakeMicroscopy(120, seed=2), batch_size=40)
    net = MiniUNet()
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for epoch in range(8):
        net.train()
        history = []
        for batch in train:
            loss = focal_loss(net(batch["image"]), batch["mask"])
            opt.zero_grad()
            loss.backward()
            opt.step()
            history.append(loss.item())
        print(f"epoch {epoch}: focal {sum(history) / len(history):.4f}  val IoU {iou(net, val):.3f}")
    print("final IoU", round(iou(net, val), 3))


main()
