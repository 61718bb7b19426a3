# fault: labels-misaligned
# accept: label-noise
# note: Files are sorted as strings (scan_10 before scan_2), labels.txt is in numeric order. Test accuracy .091, repaired (numeric sort) .982.

"""Train a small CNN from a folder of scanned digits (one .npy file per image, labels.txt beside it)."""
import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, random_split


def export_scans(folder):
    """Stand-in for the scanner: writes scan_0.npy, scan_1.npy, ... and labels.txt in scan order."""
    digits = load_digits()
    for k, image in enumerate(digits.images):
        np.save(os.path.join(folder, f"scan_{k}.npy"), image.astype(np.float32))
    np.savetxt(os.path.join(folder, "labels.txt"), digits.target, fmt="%d")


class ScanFolder(Dataset):
    def __init__(self, folder):
        files = sorted(f for f in os.listdir(folder) if f.endswith(".npy"))
        self.images = np.stack([np.load(os.path.join(folder, f)) for f in files])
        self.labels = np.loadtxt(os.path.join(folder, "labels.txt"), dtype=np.int64)
        assert len(self.images) == len(self.labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, idx):
        image = torch.from_numpy(self.images[idx]) / 16.0
        return (image.unsqueeze(0) - 0.3) / 0.38, int(self.labels[idx])


def build_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(0.1),
        nn.Conv2d(16, 32, 3, padding=1), nn.LeakyReLU(0.1),
        nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(32 * 16, 10))


def run_epoch(net, loader, criterion, optimizer=None):
    net.train(optimizer is not None)
    total_loss, n_correct = 0.0, 0
    with torch.set_grad_enabled(optimizer is not None):
        for images, labels in loader:
            scores = net(images)
            loss = criterion(scores, labels)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total_loss += loss.item() * len(labels)
            n_correct += (scores.argmax(1) == labels).sum().item()
    return total_loss / len(loader.dataset), n_correct / len(loader.dataset)


def main():
    torch.manual_seed(11)
    with tempfile.TemporaryDirectory() as folder:
        export_scans(folder)
        dataset = ScanFolder(folder)
    train_set, test_set = random_split(dataset, [1400, len(dataset) - 1400])
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=100)
    net = build_cnn()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(8):
        tr = run_epoch(net, train_loader, criterion, optimizer)
        te = run_epoch(net, test_loader, criterion)
        print("epoch %d: train loss %.3f acc %.3f | test loss %.3f acc %.3f" % (epoch, *tr, *te))
    print("test accuracy: %.3f" % te[1])


if __name__ == "__main__":
    main()
