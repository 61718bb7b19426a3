# fault: none
# near: ema-stale
# note: SWA starts late and gets update_bn before it is judged; the EMA averages its buffers too.
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = 2 * torch.randn(1500, 6) + 1
y = (x[:, 0] * x[:, 1] > 1).long()
train = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=40, shuffle=True)
model = nn.Sequential(nn.Linear(6, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 2))
swa = AveragedModel(model)
ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95), use_buffers=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
schedule = SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)


def accuracy(network):
    network.eval()
    with torch.no_grad():
        return (network(x[1200:]).argmax(1) == y[1200:]).float().mean().item()


for epoch in range(12):
    model.train()
    for rows, labels in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), labels).backward()
        optimizer.step()
        ema.update_parameters(model)
    if epoch >= 8:
        swa.update_parameters(model)
        schedule.step()
    print(epoch, "model", accuracy(model), "ema", accuracy(ema))
update_bn(train, swa)
print("swa", accuracy(swa))
