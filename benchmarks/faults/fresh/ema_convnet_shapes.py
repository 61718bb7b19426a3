# fault: ema-stale
# note: The average follows the parameters only; its BatchNorm buffers stay at their initial values. Shipped model .832, repaired (buffers copied) .962 (raw model .970).

"""Small convnet on synthetic geometric shapes; the moving average of the weights is what gets shipped."""
import copy
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def draw(kind, rng, size=20):
    yy, xx = np.mgrid[:size, :size]
    cy, cx = rng.uniform(7, 13, 2)
    r = rng.uniform(4, 6.5)
    if kind == 0:
        m = (yy - cy) ** 2 + (xx - cx) ** 2 < r ** 2
    elif kind == 1:
        m = (abs(yy - cy) < r * .85) & (abs(xx - cx) < r * .85)
    elif kind == 2:
        m = abs(yy - cy) + abs(xx - cx) < r * 1.2
    else:
        m = ((abs(yy - cy) < r * .35) | (abs(xx - cx) < r * .35)) & (np.maximum(abs(yy - cy), abs(xx - cx)) < r)
    return m * rng.uniform(.6, 1.0) + rng.normal(0, .25, (size, size))


def make_set(n, seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, n)
    imgs = np.stack([draw(k, rng) for k in kinds]).astype(np.float32)
    imgs = (imgs - 0.17) / 0.43
    return torch.from_numpy(imgs)[:, None], torch.from_numpy(kinds)


class Block(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.SiLU(), nn.MaxPool2d(2))


class ShapeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(Block(1, 12), Block(12, 24), Block(24, 32))
        self.head = nn.Linear(32 * 4, 4)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


class ModelEMA:
    def __init__(self, model, decay=0.97):
        self.module = copy.deepcopy(model).eval()
        self.module.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for avg, new in zip(self.module.parameters(), model.parameters()):
            avg.lerp_(new, 1 - self.decay)


@torch.no_grad()
def top1(model, x, y):
    was_training = model.training
    model.eval()
    acc = (model(x).argmax(1) == y).float().mean().item()
    model.train(was_training)
    return acc


def main():
    torch.manual_seed(0)
    x, y = make_set(1600, 1)
    xv, yv = make_set(500, 2)
    model = ShapeNet()
    ema = ModelEMA(model)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    for epoch in range(8):
        model.train()
        for idx in torch.randperm(len(x)).split(50):
            loss = F.cross_entropy(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update(model)
        print(f"epoch {epoch}: raw {top1(model, xv, yv):.3f}  averaged {top1(ema.module, xv, yv):.3f}")
    print(f"shipped model: validation accuracy {top1(ema.module, xv, yv):.3f}")


if __name__ == "__main__":
    main()
