# fault: none
# near: update-too-large
# note: Test accuracy .982. lr 3.0 with sigmoids and quadratic cost is the book's own setting and trains steadily.

"""
A network in the style of Nielsen's "Neural Networks and Deep Learning", chapters 1-3: sigmoid units,
quadratic cost, mini-batches of 10, eta = 3.0; weights start with standard deviation 1/sqrt(n_in).
Backpropagation is left to autograd.
"""
import random

import numpy as np
import torch
from sklearn.datasets import load_digits


class Network:
    def __init__(self, sizes):
        self.biases = [torch.randn(n) * 0.5 for n in sizes[1:]]
        self.weights = [torch.randn(a, b) / a ** 0.5 for a, b in zip(sizes[:-1], sizes[1:])]
        self.biases[-1] = self.biases[-1] - 1.0
        for p in self.biases + self.weights:
            p.requires_grad_(True)

    def feedforward(self, a):
        for w, b in zip(self.weights, self.biases):
            a = torch.sigmoid(a @ w + b)
        return a

    def SGD(self, training_data, epochs, mini_batch_size, eta, test_data):
        x, y = training_data
        one_hot = torch.eye(10)[y]
        optimizer = torch.optim.SGD(self.biases + self.weights, lr=eta)
        for j in range(epochs):
            order = list(range(len(x)))
            random.shuffle(order)
            for k in range(0, len(order), mini_batch_size):
                rows = order[k:k + mini_batch_size]
                cost = 0.5 * ((self.feedforward(x[rows]) - one_hot[rows]) ** 2).sum(1).mean()
                optimizer.zero_grad()
                cost.backward()
                optimizer.step()
            print("Epoch {0}: {1} / {2}".format(j, self.evaluate(test_data), len(test_data[1])))

    def evaluate(self, test_data):
        with torch.no_grad():
            return int((self.feedforward(test_data[0]).argmax(1) == test_data[1]).sum())


random.seed(12)
torch.manual_seed(12)
digits = load_digits()
perm = np.random.RandomState(12).permutation(len(digits.target))
pixels = torch.tensor(digits.data[perm] / 16.0, dtype=torch.float32)
target = torch.tensor(digits.target[perm])
train, test = (pixels[:1400], target[:1400]), (pixels[1400:], target[1400:])
net = Network([64, 30, 10])
net.SGD(train, 20, 10, 3.0, test)
print("test accuracy: {:.3f}".format(net.evaluate(test) / len(test[1])))
