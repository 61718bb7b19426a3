# fault: none
# near: symmetric-init
# note: Holdout accuracy 0.996. The last convolution of every residual branch and the classifier start at zero; the rows part at once since their gradients differ. bfloat16 autocast in the forward pass only.

"""1-D residual network for synthetic heartbeats; every residual branch starts at zero, and so does the classifier.

bfloat16 autocast for the forward pass, master weights in float32.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

KINDS = ["normal", "early", "wide", "inverted", "double"]


def beats(n, gen, length=80):
    rand = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, generator=gen)
    kind = torch.randint(len(KINDS), (n,), generator=gen)
    k = kind.unsqueeze(1)
    t = torch.linspace(0, 1, length).expand(n, -1)
    bump = lambda c, w: torch.exp(-0.5 * ((t - c) / w) ** 2)
    centre = rand(0.42, 0.58) - 0.18 * (k == 1)
    width = rand(0.016, 0.028) * torch.where(k == 2, 2.6, 1.0)
    sign = torch.where(k == 3, -1.0, 1.0)
    y = sign * bump(centre, width) + 0.25 * bump(centre + 0.24, 0.05) + 0.15 * bump(0.3 * centre, 0.03)
    y = y + (k == 4) * 0.7 * bump(centre + 0.11, width)
    y = rand(0.7, 1.3) * y + 0.1 * torch.randn(n, length, generator=gen)
    return ((y - 0.08) / 0.27).unsqueeze(1), kind


class BeatStream(IterableDataset):
    """Endless supply in the real system, `batches` batches here."""

    def __init__(self, batches, batch_size, seed):
        self.batches, self.batch_size = batches, batch_size
        self.gen = torch.Generator().manual_seed(seed)

    def __iter__(self):
        for _ in range(self.batches):
            yield beats(self.batch_size, self.gen)


class ZeroBranch(nn.Module):
    def __init__(self, c, dilation):
        super().__init__()
        self.norm = nn.GroupNorm(4, c)
        self.conv1 = nn.Conv1d(c, c, 5, padding=2 * dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(c, c, 5, padding=2)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x):
        return x + self.conv2(F.gelu(self.conv1(F.gelu(self.norm(x)))))


class BeatNet(nn.Module):
    def __init__(self, c=24, classes=len(KINDS)):
        super().__init__()
        self.stem = nn.Conv1d(1, c, 7, stride=2, padding=3)
        self.branches = nn.Sequential(*[ZeroBranch(c, d) for d in (1, 2, 4)])
        self.norm = nn.GroupNorm(4, c)
        self.classifier = nn.Linear(c, classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x):
        x = F.gelu(self.norm(self.branches(self.stem(x))))
        return self.classifier(x.mean(-1))


def accuracy(net, loader):
    net.eval()
    good = total = 0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for x, y in loader:
            good += (net(x).argmax(1) == y).sum().item()
            total += len(y)
    return good / total


torch.manual_seed(0)
stream = DataLoader(BeatStream(batches=60, batch_size=64, seed=1), batch_size=None)
holdout = DataLoader(TensorDataset(*beats(1000, torch.Generator().manual_seed(999))), batch_size=250)
net = BeatNet()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=8 * 60)

for round_no in range(8):
    net.train()
    mean = 0.0
    for x, y in stream:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        mean += loss.item() / 60
    print(f"round {round_no + 1}: loss {mean:.4f}, holdout accuracy {accuracy(net, holdout):.3f}")
print(f"holdout accuracy: {accuracy(net, holdout):.3f}")
