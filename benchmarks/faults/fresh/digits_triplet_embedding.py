# fault: none
# near: data-not-shuffled
# note: 1-NN accuracy 0.987. P x K batches hold runs of six pictures of one class in sequence, as batch-hard triplets need; every batch has 8 of the 10 classes and rows are drawn at random.

"""Metric learning on the 8x8 digits: P x K batches and batch-hard triplets (Hermans et al. 2017)."""
import random
from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit
from torch.utils.data import DataLoader, Dataset, Sampler


@dataclass
class Batch:
    image: torch.Tensor
    label: torch.Tensor


class DigitImages(Dataset):
    def __init__(self, images, labels):
        self.images = (torch.tensor(images, dtype=torch.float32).unsqueeze(1) - 4.88) / 6.02
        self.labels = torch.tensor(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


class PKSampler(Sampler):
    """Every batch holds P identities with K pictures of each, identity by identity."""

    def __init__(self, labels, p, k, batches):
        self.by_label = defaultdict(list)
        for i, label in enumerate(labels.tolist()):
            self.by_label[label].append(i)
        self.p, self.k, self.batches = p, k, batches

    def __iter__(self):
        for _ in range(self.batches):
            batch = []
            for label in random.sample(sorted(self.by_label), self.p):
                batch += random.sample(self.by_label[label], self.k)
            yield batch

    def __len__(self):
        return self.batches


def to_batch(rows):
    return Batch(torch.stack([r[0] for r in rows]), torch.stack([r[1] for r in rows]))


class Embedder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.GELU(),
                                  nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.GELU(), nn.Flatten())
        self.fc = nn.Linear(24 * 16, dim)

    def forward(self, x):
        return F.normalize(self.fc(self.conv(x)), dim=1)


def batch_hard(z, label, margin=0.3):
    dist = torch.cdist(z, z)
    same = label[:, None] == label[None, :]
    hardest_pos = dist.masked_fill(~same, 0).max(1).values
    hardest_neg = dist.masked_fill(same, 9.0).min(1).values
    return F.softplus((hardest_pos - hardest_neg + margin) * 4).mean() / 4


def nearest_neighbour_accuracy(model, gallery, queries):
    model.eval()
    with torch.no_grad():
        zg, zq = model(gallery.images), model(queries.images)
    hit = gallery.labels[torch.cdist(zq, zg).argmin(1)] == queries.labels
    model.train()
    return hit.float().mean().item()


def main():
    random.seed(4)
    torch.manual_seed(4)
    digits = load_digits()
    tr, te = next(StratifiedShuffleSplit(1, test_size=0.3, random_state=4).split(digits.images, digits.target))
    train, test = (DigitImages(digits.images[i], digits.target[i]) for i in (tr, te))
    loader = DataLoader(train, batch_sampler=PKSampler(train.labels, p=8, k=6, batches=40), collate_fn=to_batch)
    model = Embedder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    print(f"before training: 1-NN accuracy {nearest_neighbour_accuracy(model, train, test):.3f}")
    for epoch in range(8):
        total = 0.0
        for b in loader:
            loss = batch_hard(model(b.image), b.label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: triplet {total / len(loader):.4f}, 1-NN {nearest_neighbour_accuracy(model, train, test):.3f}")
    print("1-nearest-neighbour accuracy of unseen digits:", round(nearest_neighbour_accuracy(model, train, test), 4))


if __name__ == "__main__":
    main()
