# fault: loss-not-decreasing
# accept: labels-misaligned, label-noise, underfitting
# note: Images and labels come from two loaders that shuffle independently, re-drawn each epoch: loss stays at ln 10;
# unshuffled pairing gives 99 %.
"""Simple convnet on digits with multi-process loading."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCH = 60


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(32 * 4, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def main():
    torch.manual_seed(100)
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(y)
    perm = torch.randperm(len(X))
    X, y = X[perm], y[perm]

    image_loader = DataLoader(TensorDataset(X[:1440]), batch_size=BATCH, shuffle=True, num_workers=1, persistent_workers=True)
    label_loader = DataLoader(TensorDataset(y[:1440]), batch_size=BATCH, shuffle=True)

    model = ConvNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(14):
        model.train()
        total = 0.0
        for (images,), (labels,) in zip(image_loader, label_loader):
            loss = loss_fn(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(X[1440:]).argmax(1) == y[1440:]).float().mean().item()
        print(f"epoch {epoch:2d}: loss {total / len(image_loader):.4f}, held-out accuracy {acc:.3f}")


if __name__ == "__main__":
    main()
