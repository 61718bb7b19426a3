"""The network of digits.py with one batch and its loss, for `diagnose check`.

diagnose check check_digits.py:make
diagnose check check_digits.py:make --select lr-range-test --plot rates.png
"""

import torch
import torch.nn.functional as F
from digits import CNN
from sklearn.datasets import load_digits


def make():
    digits = load_digits()
    images = torch.tensor(digits.images[:32], dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target[:32])
    return CNN(), (images - images.mean()) / images.std(), F.cross_entropy, labels
