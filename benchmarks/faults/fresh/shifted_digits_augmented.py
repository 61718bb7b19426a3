# fault: labels-misaligned
# accept: label-noise
# note: the images are stacked copy after copy but the labels are np.repeat-ed (must be np.tile), so training labels belong to other images. Accuracy 0.06 (loss at 2.27-2.3); with np.tile 0.991.

"""Digits classifier with an offline-augmented training set (each image also shifted by one pixel)."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def shift(imgs, dx, dy):
    return np.roll(np.roll(imgs, dx, axis=2), dy, axis=1)


def augment(images, labels, moves=((1, 0), (-1, 0))):
    stacks = [images] + [shift(images, dx, dy) for dx, dy in moves]
    return np.concatenate(stacks), np.repeat(labels, len(stacks))


class SmallCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.b1 = nn.BatchNorm2d(16)
        self.c2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.b2 = nn.BatchNorm2d(32)
        self.out = nn.Linear(32 * 4, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.b1(self.c1(x))), 2)
        x = F.max_pool2d(F.relu(self.b2(self.c2(x))), 2)
        return self.out(x.flatten(1))


def main(seed=13, epochs=6):
    torch.manual_seed(seed)
    d = load_digits()
    im_tr, im_te, y_tr, y_te = train_test_split(d.images / 16.0, d.target, test_size=0.25, random_state=seed, stratify=d.target)
    im_tr, y_tr = augment(im_tr, y_tr)
    mean, std = im_tr.mean(), im_tr.std()
    to_x = lambda a: torch.tensor((a - mean) / std, dtype=torch.float32).unsqueeze(1)
    dl = DataLoader(TensorDataset(to_x(im_tr), torch.tensor(y_tr)), batch_size=64, shuffle=True)
    x_te, y_te = to_x(im_te), torch.tensor(y_te)

    model = SmallCNN()
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for e in range(epochs):
        model.train()
        s = n = 0
        for x, y in dl:
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s, n = s + loss.item() * len(x), n + len(x)
        model.eval()
        with torch.no_grad():
            a = (model(x_te).argmax(1) == y_te).float().mean().item()
        print(f"epoch {e + 1}/{epochs} - loss: {s / n:.4f} - val_acc: {a:.4f}")
    return a


if __name__ == "__main__":
    print("accuracy:", main())
