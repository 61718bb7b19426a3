# fault: nan-or-inf
# note: sqrt of the squared distance has an infinite slope at 0: the first pair that consists of the same image twice gives NaN gradients, then NaN weights, within the first epoch. AUC 0.500 with the fault (all outputs NaN), 0.999 without (clamp(min=1e-9) before the sqrt).

"""Siamese verification on the 8x8 digits: do two images show the same digit?

Contrastive loss as in Hadsell et al. (2006), margin 1.
"""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset

random.seed(11)
torch.manual_seed(11)


class PairDataset(Dataset):
    """Half of the pairs share their digit, the other half do not."""

    def __init__(self, images, labels, length):
        self.images = images
        self.labels = labels
        self.length = length
        self.by_class = {c: [i for i, l in enumerate(labels.tolist()) if l == c] for c in range(10)}

    def __len__(self):
        return self.length

    def __getitem__(self, _):
        i = random.randrange(len(self.images))
        c = int(self.labels[i])
        same = random.random() < 0.5
        if not same:
            c = random.choice([k for k in range(10) if k != c])
        j = random.choice(self.by_class[c])
        return {"left": self.images[i], "right": self.images[j], "same": float(same)}


class Embedder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc = nn.Linear(32 * 4 * 4, dim)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, a, b, same):
        distance = (a - b).pow(2).sum(dim=1).sqrt()
        pull = same * distance.pow(2)
        push = (1 - same) * (self.margin - distance).clamp(min=0).pow(2)
        return (pull + push).mean(), distance


def verification_auc(net, loader):
    net.eval()
    scores, truth = [], []
    with torch.no_grad():
        for batch in loader:
            d = (net(batch["left"]) - net(batch["right"])).norm(dim=1)
            scores.append(-d)
            truth.append(batch["same"])
    scores = torch.nan_to_num(torch.cat(scores))
    return roc_auc_score(torch.cat(truth).numpy(), scores.numpy())


digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
images = (images - images.mean()) / images.std()
labels = torch.tensor(digits.target)
tr, te = train_test_split(range(len(labels)), test_size=0.3, random_state=0, stratify=digits.target)

train_loader = DataLoader(PairDataset(images[tr], labels[tr], 6000), batch_size=64)
test_loader = DataLoader(PairDataset(images[te], labels[te], 3000), batch_size=250)

net = Embedder()
criterion = ContrastiveLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

for epoch in range(1, 9):
    net.train()
    running = 0.0
    for batch in train_loader:
        loss, _ = criterion(net(batch["left"]), net(batch["right"]), batch["same"].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item()
    print(f"[{epoch}] contrastive loss {running / len(train_loader):.4f}")

print("verification AUC on unseen images: %.4f" % verification_auc(net, test_loader))
