# fault: none
# near: train-mode-in-eval
# note: micro-F1 .959. Forward passes in train mode under no_grad are on training data only (exact BN statistics); the test set is seen in eval mode.

"""Audio-event tagging on synthetic spectrogram patches (multi-label). Before each evaluation the batch
statistics are recomputed exactly over the training set ("precise BN", Wu & Johnson 2021)."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

EVENTS = ["hum", "sweep_up", "sweep_down", "click", "burst"]


class SpectrogramPatches(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.tags = (rng.random((n, 5)) < 0.35).astype(np.float32)
        f, t = np.mgrid[:24, :24]
        patches = rng.normal(0, 0.6, (n, 24, 24))
        for i, tag in enumerate(self.tags):
            if tag[0]:
                patches[i] += 1.6 * (abs(f - rng.integers(2, 22)) < 1)
            if tag[1]:
                patches[i] += 1.6 * (abs(f - t - rng.integers(-6, 7)) < 1.5)
            if tag[2]:
                patches[i] += 1.6 * (abs(f + t - 23 - rng.integers(-6, 7)) < 1.5)
            if tag[3]:
                patches[i] += 1.6 * (abs(t - rng.integers(2, 22)) < 1)
            if tag[4]:
                a, b = rng.integers(0, 18, 2)
                patches[i, a:a + 6, b:b + 6] += 1.6 * rng.random((6, 6))
        self.patches = ((patches - patches.mean()) / patches.std()).astype(np.float32)[:, None]

    def __len__(self):
        return len(self.tags)

    def __getitem__(self, i):
        return self.patches[i], self.tags[i]


def conv_bn(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.SiLU(), nn.MaxPool2d(2))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(conv_bn(1, 16), conv_bn(16, 24), conv_bn(24, 32))
        self.fc = nn.Linear(32 * 9, len(EVENTS))

    def forward(self, x):
        return self.fc(self.cnn(x).flatten(1))


@torch.no_grad()
def precise_bn(model, loader):
    bns = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    old = [m.momentum for m in bns]
    for m in bns:
        m.reset_running_stats()
        m.momentum = None
    model.train()
    for x, _ in loader:
        model(x)
    for m, v in zip(bns, old):
        m.momentum = v


@torch.no_grad()
def f1(model, loader):
    model.eval()
    tp = fp = fn = 0
    for x, y in loader:
        hit = model(x) > 0
        tp += (hit & (y > 0)).sum().item()
        fp += (hit & (y == 0)).sum().item()
        fn += (~hit & (y > 0)).sum().item()
    return 2 * tp / (2 * tp + fp + fn)


def main():
    torch.manual_seed(10)
    train = DataLoader(SpectrogramPatches(1800, 1), batch_size=60, shuffle=True)
    test = DataLoader(SpectrogramPatches(500, 2), batch_size=100)
    model = Tagger()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    for epoch in range(5):
        model.train()
        total = 0.0
        for x, y in train:
            opt.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item() / len(train)
        precise_bn(model, train)
        print(f"epoch {epoch}: loss {total:.4f}  micro-F1 {f1(model, test):.4f}")
    print("micro-F1 on the test patches: %.3f" % f1(model, test))


if __name__ == "__main__":
    main()
