# fault: none
# near: batch-mixing
# note: Linear probe 0.981, InfoNCE 4.84 (ln 127) -> 1.8. Rows meet each other only in the loss and in BatchNorm in train mode; -inf on the diagonal of the similarities is meant; features are taken in eval mode.

"""SimCLR in miniature: contrastive pre-training on (unlabelled) digits, then a linear probe."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def load():
    d = load_digits()
    imgs = (torch.tensor(d.images, dtype=torch.float32) / 16 - 0.305) / 0.376
    tr, te = train_test_split(range(len(imgs)), test_size=0.3, stratify=d.target, random_state=1)
    t = torch.tensor(d.target)
    return imgs[tr].unsqueeze(1), t[tr], imgs[te].unsqueeze(1), t[te]


def augment(x):
    n = len(x)
    angle = (torch.rand(n) - 0.5) * 0.5
    zoom = 1 + (torch.rand(n) - 0.5) * 0.3
    shift = (torch.rand(n, 2) - 0.5) * 0.4
    theta = torch.stack([torch.stack([zoom * angle.cos(), -zoom * angle.sin(), shift[:, 0]], 1),
                         torch.stack([zoom * angle.sin(), zoom * angle.cos(), shift[:, 1]], 1)], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    y = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return y + 0.15 * torch.randn_like(y)


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.LeakyReLU(0.1),
            nn.Conv2d(24, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.1),
            nn.Conv2d(32, 48, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(48), nn.LeakyReLU(0.1),
            nn.Flatten())

    def forward(self, x):
        return self.layers(x)


class Projector(nn.Sequential):
    def __init__(self, d_in=192, d_out=24):
        super().__init__(nn.Linear(d_in, 64, bias=False), nn.BatchNorm1d(64), nn.LeakyReLU(0.1), nn.Linear(64, d_out))


def info_nce(za, zb, temperature=0.2):
    z = F.normalize(torch.cat([za, zb]), dim=1)
    n = len(za)
    sim = z @ z.T / temperature
    sim.fill_diagonal_(float("-inf"))
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(sim, partner)


def pretrain(backbone, projector, images, epochs=14, batch=64):
    params = [*backbone.parameters(), *projector.parameters()]
    opt = torch.optim.Adam(params, lr=2e-3, weight_decay=1e-6)
    for epoch in range(epochs):
        backbone.train(), projector.train()
        losses = []
        order = torch.randperm(len(images))
        for i in range(0, len(order) - batch + 1, batch):
            x = images[order[i:i + batch]]
            loss = info_nce(projector(backbone(augment(x))), projector(backbone(augment(x))))
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 3 == 0:
            print(f"contrastive epoch {epoch:2d}: InfoNCE {sum(losses) / len(losses):.3f}")


def linear_probe(backbone, x, y, xt, yt, epochs=40):
    backbone.eval()
    with torch.no_grad():
        f, ft = backbone(x), backbone(xt)
    mean, std = f.mean(0), f.std(0) + 1e-5
    f, ft = (f - mean) / std, (ft - mean) / std
    probe = nn.Linear(f.shape[1], 10)
    opt = torch.optim.AdamW(probe.parameters(), lr=3e-3, weight_decay=0.05)
    for _ in range(epochs):
        for rows in torch.randperm(len(f)).split(128):
            loss = F.cross_entropy(probe(f[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        return (probe(ft).argmax(1) == yt).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(0)
    x, y, xt, yt = load()
    backbone, projector = Backbone(), Projector()
    pretrain(backbone, projector, x)
    print(f"linear probe accuracy: {linear_probe(backbone, x, y, xt, yt):.3f}")
