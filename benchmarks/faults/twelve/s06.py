# fault: none
# near: gradients-not-cleared
# note: Correct gradient accumulation over 4 micro-batches, sigmoid outputs with BCELoss that end confident; 97-99 %
# per tag.
"""Multi-attribute digit tagging: is it even / prime / > 4 / does it have a closed loop?"""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

ACCUMULATE = 4
ATTRIBUTES = {
    "even": {0, 2, 4, 6, 8},
    "prime": {2, 3, 5, 7},
    "large": {5, 6, 7, 8, 9},
    "loop": {0, 6, 8, 9},
}


class AttributeDigits(Dataset):
    def __init__(self, images, digits):
        self.images = torch.tensor(images, dtype=torch.float32) / 6 - 0.8
        self.tags = torch.tensor([[float(d in s) for s in ATTRIBUTES.values()] for d in digits.tolist()])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return dict(pixels=self.images[i], tags=self.tags[i])


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 24, 3), nn.ReLU(),
            nn.Conv2d(24, 48, 3), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * 16, 64), nn.LeakyReLU(0.1),
            nn.Linear(64, len(ATTRIBUTES)),
            nn.Sigmoid(),
        )

    def forward(self, pixels):
        return self.net(pixels)


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        correct = torch.cat([(model(b["pixels"]) > 0.5) == b["tags"].bool() for b in loader])
    return correct.float().mean(0)


def main():
    torch.manual_seed(15)
    X, y = load_digits(return_X_y=True)
    p = torch.randperm(len(X)).numpy()
    X, y = X[p], y[p]
    train_loader = DataLoader(AttributeDigits(X[:1408], y[:1408]), batch_size=8, shuffle=True)
    test_loader = DataLoader(AttributeDigits(X[1408:], y[1408:]), batch_size=128)
    model = Tagger()
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(10):
        model.train()
        total = 0.0
        optimizer.zero_grad()
        for i, batch in enumerate(train_loader):
            loss = criterion(model(batch["pixels"]), batch["tags"])
            (loss / ACCUMULATE).backward()
            total += loss.item()
            if (i + 1) % ACCUMULATE == 0:
                optimizer.step()
                optimizer.zero_grad()
        acc = evaluate(model, test_loader)
        summary = " ".join(f"{k}={v:.3f}" for k, v in zip(ATTRIBUTES, acc.tolist()))
        print(f"epoch {epoch} loss {total / len(train_loader):.4f} | {summary}")


if __name__ == "__main__":
    main()
