# fault: none
# near: ema-stale
# note: Averaged model 0.999. The averaged copy stands still until SWA_START, then follows once per epoch; its batch-norm statistics are recomputed on training data with update_bn. Convolutions before BN have no bias.

"""Classify damped oscillations; stochastic weight averaging over the last third of training."""
import torch
import torch.nn as nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, SWA_START = 12, 8


def ringdowns(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (n,), generator=g)
    t = torch.linspace(0, 1, 100)
    f = 8 + 4.0 * (y % 2)[:, None] + torch.rand(n, 1, generator=g)
    tau = 0.15 + 0.3 * (y // 2)[:, None] + 0.05 * torch.rand(n, 1, generator=g)
    x = torch.sin(6.283 * (f * t + torch.rand(n, 1, generator=g))) * torch.exp(-t / tau)
    x = x + 0.25 * torch.randn(n, 100, generator=g)
    return (x / x.std()).unsqueeze(1), y


def conv_bn(i, o, k, s):
    return nn.Sequential(nn.Conv1d(i, o, k, s, k // 2, bias=False), nn.BatchNorm1d(o), nn.ReLU())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv_bn(1, 16, 9, 2), conv_bn(16, 24, 7, 2), conv_bn(24, 32, 5, 2))
        self.fc = nn.Linear(32 * 3, 4)

    def forward(self, x):
        h = nn.functional.adaptive_avg_pool1d(self.features(x), 3)
        return self.fc(h.flatten(1))


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        return sum((net(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


torch.manual_seed(9)
train = DataLoader(TensorDataset(*ringdowns(2400, 1)), batch_size=48, shuffle=True)
test = DataLoader(TensorDataset(*ringdowns(800, 2)), batch_size=200)
net = Net()
averaged = AveragedModel(net)
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
main_sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=EPOCHS)
swa_sched = SWALR(opt, swa_lr=0.02, anneal_epochs=2)

for epoch in range(EPOCHS):
    net.train()
    for x, y in train:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
    if epoch >= SWA_START:
        averaged.update_parameters(net)
        swa_sched.step()
    else:
        main_sched.step()
    print(f"epoch {epoch + 1}: plain accuracy {accuracy(net, test):.3f}")

update_bn(train, averaged)
print(f"averaged model accuracy {accuracy(averaged, test):.3f}")
