# fault: batch-mixing
# note: The encoder layer keeps batch_first=False while the data are (batch, time, channel), so attention runs along
# the examples of the batch.
"""Recognise four activities in windows of three-axis accelerometer readings."""
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
STEPS, CLASSES = 24, 4


def windows(count):
    label = torch.randint(CLASSES, (count,))
    t = torch.arange(STEPS) / STEPS
    phase = torch.rand(count, 1) * 2 * math.pi
    wave = torch.sin(2 * math.pi * (label[:, None] + 1) * t + phase)
    signal = torch.stack([wave, wave.roll(3, 1), torch.zeros_like(wave)], 2)
    return signal + 0.4 * torch.randn(count, STEPS, 3), label


class ActivityEncoder(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.lift = nn.Linear(3, width)
        self.position = nn.Parameter(0.02 * torch.randn(STEPS, width))
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=64, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.head(self.encoder(self.lift(x) + self.position).mean(1))


train = DataLoader(TensorDataset(*windows(1024)), batch_size=32, shuffle=True)
test_x, test_y = windows(256)
model = ActivityEncoder()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for epoch in range(6):
    model.train()
    for x, y in train:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print(f"test accuracy {(model(test_x).argmax(1) == test_y).float().mean():.3f}")
