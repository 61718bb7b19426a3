# fault: none
# near: ema-stale
# note: Test accuracy 0.995 (both weights). The averaged copy does not move before epoch 12 on purpose, is updated from then on, and update_bn (on training data) is run before it is used.

"""SWA for the last third of training; until then the averaged copy just sits there."""
from dataclasses import dataclass, field

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Experiment:
    epochs: int = 18
    swa_from: int = 12
    lr: float = 0.05
    swa_lr: float = 0.02
    batch_size: int = 32
    history: list = field(default_factory=list)

    def prepare(self):
        torch.manual_seed(10)
        d = load_digits()
        x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
        y = torch.tensor(d.target)
        tr, te = train_test_split(torch.arange(len(y)), test_size=400, random_state=1, stratify=d.target)
        m, s = x[tr].mean(), x[tr].std()
        x = (x - m) / s
        self.train = DataLoader(TensorDataset(x[tr], y[tr]), self.batch_size, shuffle=True, drop_last=True)
        self.test = DataLoader(TensorDataset(x[te], y[te]), 200)
        self.model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, 10),
        )
        self.averaged = AveragedModel(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.lr, momentum=0.9, weight_decay=5e-4)
        self.cosine = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=self.epochs)
        self.swa = SWALR(self.optimizer, swa_lr=self.swa_lr, anneal_epochs=2)
        return self

    def accuracy(self, model):
        model.eval()
        with torch.inference_mode():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in self.test)
        return hits / len(self.test.dataset)

    def run(self):
        criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
        for epoch in range(self.epochs):
            self.model.train()
            total = 0.0
            for x, y in self.train:
                self.optimizer.zero_grad()
                loss = criterion(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                total += loss.item()
            if epoch >= self.swa_from:
                self.averaged.update_parameters(self.model)
                self.swa.step()
            else:
                self.cosine.step()
            self.history.append(total / len(self.train))
            if epoch % 3 == 2:
                print(f"epoch {epoch + 1}: loss {self.history[-1]:.3f}, accuracy {self.accuracy(self.model):.4f}")
        update_bn(self.train, self.averaged)
        print(f"last weights {self.accuracy(self.model):.4f}, averaged weights {self.accuracy(self.averaged):.4f}")


if __name__ == "__main__":
    Experiment().prepare().run()
