# fault: none
# near: frozen-in-train
# note: Target test accuracy 1.000. The pre-trained body is frozen (requires_grad False) and held in eval mode through train() on purpose; only the head is optimised.

"""Learn texture features on a large source task, then reuse them frozen for a small target task."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def textures(n, angles, seed, size=20):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(len(angles), (n,), generator=g)
    a = torch.tensor(angles)[y].deg2rad()[:, None, None] + 0.06 * torch.randn(n, 1, 1, generator=g)
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    wave = torch.sin((xx * a.cos() + yy * a.sin()) * 1.2 + 6.28 * torch.rand(n, 1, 1, generator=g))
    img = wave + 0.8 * torch.randn(n, size, size, generator=g)
    return TensorDataset((img / 1.07).unsqueeze(1), y)


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 32, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return x.mean((2, 3))


class Transfer(nn.Module):
    def __init__(self, body, classes):
        super().__init__()
        self.body = body.requires_grad_(False)
        self.head = nn.Linear(32, classes)

    def train(self, mode=True):
        super().train(mode)
        self.body.eval()          # keep source statistics
        return self

    def forward(self, x):
        return self.head(self.body(x))


def fit(net, data, epochs, lr, tag):
    opt = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=lr)
    for e in range(epochs):
        net.train()
        s = 0.0
        for x, y in data:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        print(f"{tag} {e}: {s / len(data):.3f}")


@torch.no_grad()
def accuracy(net, data):
    net.eval()
    return sum((net(x).argmax(1) == y).sum().item() for x, y in data) / len(data.dataset)


if __name__ == "__main__":
    torch.manual_seed(17)
    source = DataLoader(textures(2400, [0., 30., 60., 90., 120., 150.], 1), batch_size=40, shuffle=True)
    body = Body()
    fit(nn.Sequential(body, nn.Linear(32, 6)), source, 4, 3e-3, "source")

    target = DataLoader(textures(600, [15., 75., 135.], 2), batch_size=20, shuffle=True)
    target_test = DataLoader(textures(400, [15., 75., 135.], 3), batch_size=100)
    net = Transfer(body, 3)
    fit(net, target, 5, 1e-2, "target")
    print(f"target test accuracy {accuracy(net, target_test):.3f}")
