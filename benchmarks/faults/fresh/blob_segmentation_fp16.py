# fault: loss-scale-underflow
# accept: clip-always-active, clip-after-step
# note: clip_grad_norm_ is called on the scaled gradients (no scaler.unscale_ before it), so all 150 steps are cut (norm about 1300-1460 to 2) and then divided by 4096 as well: steps some 700 times too small (true norms are at most 0.34, never clipped in the repaired run). IoU 0.438, loss 0.596 to 0.577 with the fault, 0.844 with unscale_.

"""Half-precision segmentation of bright blobs (per-pixel binary mask)."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, LR, MAX_NORM = 5, 0.1, 2.0


def scenes(n, seed, size=24):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    mask = torch.zeros(n, size, size, dtype=torch.bool)
    for _ in range(3):
        cy = torch.randint(3, size - 3, (n, 1, 1), generator=g)
        cx = torch.randint(3, size - 3, (n, 1, 1), generator=g)
        r = 2.5 + 2 * torch.rand(n, 1, 1, generator=g)
        mask |= (yy - cy) ** 2 + (xx - cx) ** 2 < r ** 2
    img = mask.float() + 0.6 * torch.randn(n, size, size, generator=g)
    img = (img - 0.2) / 0.72
    return img.unsqueeze(1), mask.float().unsqueeze(1)


class SegNet(nn.Module):
    def __init__(self, ch=8):
        super().__init__()
        self.a = nn.Conv2d(1, ch, 3, padding=1)
        self.b = nn.Conv2d(ch, ch, 3, padding=1)
        self.c = nn.Conv2d(ch, ch, 3, padding=1)
        self.out = nn.Conv2d(2 * ch, 1, 1)

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.relu(self.b(F.avg_pool2d(a, 2)))
        b = F.relu(self.c(b))
        b = F.interpolate(b, scale_factor=2, mode="nearest")
        return self.out(torch.cat([a, b], 1))


@torch.no_grad()
def iou(model, loader):
    model.eval()
    inter = union = 0
    for x, m in loader:
        p = model(x) > 0
        m = m.bool()
        inter += (p & m).sum().item()
        union += (p | m).sum().item()
    return inter / max(union, 1)


torch.manual_seed(2)
train = DataLoader(TensorDataset(*scenes(600, 1)), batch_size=20, shuffle=True)
test = DataLoader(TensorDataset(*scenes(150, 2)), batch_size=50)
model = SegNet()
opt = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 12)

for epoch in range(EPOCHS):
    model.train()
    total = 0.0
    for x, m in train:
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            logits = model(x)
        loss = F.binary_cross_entropy_with_logits(logits.float(), m)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        scaler.step(opt)
        scaler.update()
        total += loss.item()
    print(f"epoch {epoch + 1}/{EPOCHS} loss {total / len(train):.4f} IoU {iou(model, test):.3f}")
print(f"test IoU {iou(model, test):.3f}")
