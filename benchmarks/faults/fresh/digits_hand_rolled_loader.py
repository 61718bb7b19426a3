# fault: labels-misaligned
# accept: label-noise
# note: features and labels are permuted by two different permutations when the training batches are made; test accuracy 0.108, with one permutation 0.992.

import numpy as np
import torch
from sklearn.datasets import load_digits

rng = np.random.default_rng(0)
torch.manual_seed(0)


class ArrayBatches:
    """Minimal replacement for a DataLoader over in-memory arrays."""

    def __init__(self, features, labels, batch_size):
        order = rng.permutation(len(features))
        self.features = torch.as_tensor(features[order], dtype=torch.float32)
        order = rng.permutation(len(labels))
        self.labels = torch.as_tensor(labels[order], dtype=torch.long)
        self.batch_size = batch_size

    def __len__(self):
        return len(self.features) // self.batch_size

    def __iter__(self):
        for b in torch.randperm(len(self)).tolist():
            s = slice(b * self.batch_size, (b + 1) * self.batch_size)
            yield {"pixels": self.features[s], "digit": self.labels[s]}


bunch = load_digits()
pixels = (bunch.data - 4.88) / 6.02
perm = rng.permutation(len(pixels))
pixels, target = pixels[perm], bunch.target[perm]
train_batches = ArrayBatches(pixels[:1400], target[:1400], 28)
test_x, test_y = torch.tensor(pixels[1400:]).float(), torch.tensor(target[1400:])

net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
loss_function = torch.nn.CrossEntropyLoss()

for epoch in range(10):
    net.train()
    mean_loss = 0.0
    for batch in train_batches:
        sgd.zero_grad()
        loss = loss_function(net(batch["pixels"]), batch["digit"])
        loss.backward()
        sgd.step()
        mean_loss += loss.item() / len(train_batches)
    net.eval()
    with torch.no_grad():
        acc = (net(test_x).argmax(1) == test_y).float().mean().item()
    print(f"{epoch}\t{mean_loss:.4f}\t{acc:.4f}")
print("accuracy on the last 397 digits:", round(acc, 4))
