# fault: train-test-overlap
# note: The two loader functions each draw a random split of their own (no random_state): about 70 % of the test rows are training rows. Test accuracy 0.996; with one random_state in both, honest, 0.967.

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


class Maxout(nn.Module):
    def __init__(self, d_in, d_out, pieces=3):
        super().__init__()
        self.lin = nn.Linear(d_in, d_out * pieces)
        self.d_out, self.pieces = d_out, pieces

    def forward(self, x):
        return self.lin(x).view(-1, self.d_out, self.pieces).amax(-1)


def _dataset(images, labels):
    x = torch.tensor(images.reshape(len(images), -1), dtype=torch.float32)
    return TensorDataset((x - 4.9) / 6.0, torch.tensor(labels))


def get_train_loader(batch_size):
    digits = load_digits()
    X_train, _, y_train, _ = train_test_split(digits.images[:900], digits.target[:900], test_size=0.3)
    return DataLoader(_dataset(X_train, y_train), batch_size=batch_size, shuffle=True)


def get_test_loader(batch_size):
    digits = load_digits()
    _, X_test, _, y_test = train_test_split(digits.images[:900], digits.target[:900], test_size=0.3)
    return DataLoader(_dataset(X_test, y_test), batch_size=batch_size, shuffle=False)


def train(model, loader, optimizer, criterion):
    model.train()
    total = 0.0
    for data, target in loader:
        optimizer.zero_grad()
        loss = criterion(model(data), target)
        loss.backward()
        optimizer.step()
        total += loss.item() * data.size(0)
    return total / len(loader.dataset)


def test(model, loader, criterion):
    model.eval()
    total, correct = 0.0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            total += criterion(output, target).item() * data.size(0)
            correct += output.argmax(1).eq(target).sum().item()
    return total / len(loader.dataset), correct / len(loader.dataset)


def main():
    torch.manual_seed(7)
    np.random.seed(7)
    train_loader = get_train_loader(32)
    test_loader = get_test_loader(100)
    model = nn.Sequential(Maxout(64, 32), nn.Dropout(0.2), Maxout(32, 32), nn.Linear(32, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(1, 16):
        tl = train(model, train_loader, optimizer, criterion)
        vl, acc = test(model, test_loader, criterion)
        if epoch % 3 == 0:
            print(f"Epoch {epoch}: train {tl:.4f} | test {vl:.4f} | acc {acc:.4f}")
    print(f"Test accuracy: {acc:.4f}")


if __name__ == "__main__":
    main()
