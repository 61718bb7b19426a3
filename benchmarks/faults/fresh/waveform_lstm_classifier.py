# fault: lr-zero
# accept: update-too-small, underfitting
# note: ExponentialLR(0.85), meant per epoch, is stepped per batch: lr is about 0 from the end of epoch 2 on; accuracy 0.555, stepped per epoch 1.000.

import numpy as np
import torch
from torch import nn, optim
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader, Dataset

CLASSES = ["sine", "square", "sawtooth", "chirp"]


class WaveformDataset(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        t = np.linspace(0, 1, 48)
        self.items = []
        for _ in range(n):
            c = int(rng.integers(4))
            f, ph = rng.uniform(2, 5), rng.uniform(0, 1)
            u = f * t + ph
            if c == 0:
                w = np.sin(2 * np.pi * u)
            elif c == 1:
                w = np.sign(np.sin(2 * np.pi * u))
            elif c == 2:
                w = 2 * (u % 1) - 1
            else:
                w = np.sin(2 * np.pi * (u + 2.5 * t ** 2))
            w = w + 0.15 * rng.normal(size=48)
            self.items.append((torch.tensor(w, dtype=torch.float32)[:, None], c))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 16, 5, padding=2)
        self.lstm = nn.LSTM(16, 32, batch_first=True)
        self.fc = nn.Linear(32, len(CLASSES))

    def forward(self, x):
        x = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        out, _ = self.lstm(x)
        return self.fc(out.mean(1))


torch.manual_seed(7)
train_dl = DataLoader(WaveformDataset(1600, 1), batch_size=32, shuffle=True)
test_dl = DataLoader(WaveformDataset(400, 2), batch_size=100)
model = WaveNet()
opt = optim.Adam(model.parameters(), lr=4e-3)
scheduler = ExponentialLR(opt, gamma=0.85)
loss_fn = nn.CrossEntropyLoss()
EPOCHS = 9

for epoch in range(EPOCHS):
    model.train()
    epoch_loss = 0
    for x, y in train_dl:
        opt.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        opt.step()
        scheduler.step()
        epoch_loss += loss.item()
    model.eval()
    hits = 0
    with torch.no_grad():
        for x, y in test_dl:
            hits += (model(x).argmax(1) == y).sum().item()
    print(f"epoch {epoch + 1}/{EPOCHS} loss {epoch_loss / len(train_dl):.4f} acc {hits / 400:.4f}")
print("test accuracy", hits / 400)
