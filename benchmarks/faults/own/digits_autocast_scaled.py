# fault: none
# near: loss-scale-underflow
# note: float16 with GradScaler
# ruff: noqa
import copy, io, torch, torch.nn as nn, torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
torch.set_num_threads(1)
X, y = load_digits(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32) / 16
y = torch.tensor(y)
perm = torch.randperm(len(X))
X, y = X[perm], y[perm]
Xtr, ytr, Xte, yte = X[:1400], y[:1400], X[1400:], y[1400:]


def loop(model, epochs=5, lr=1e-3, bs=50):
    opt = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    for e in range(epochs):
        model.train()
        for s in range(0, 1400, bs):
            loss = F.cross_entropy(model(Xtr[s : s + bs]), ytr[s : s + bs])
            opt.zero_grad()
            loss.backward()
            opt.step()


def acc(model):
    model.eval()
    with torch.no_grad():
        return (model(Xte).argmax(1) == yte).float().mean().item()


net = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 64))
opt = torch.optim.Adam(net.parameters(), lr=1e-4)
sc = torch.amp.GradScaler("cpu", init_scale=65536.0)
for it in range(200):
    i = torch.randint(0, 1400, (512,))
    with torch.autocast("cpu", dtype=torch.float16):
        loss = F.mse_loss(net(Xtr[i]), Xtr[i]) * 0.01
    opt.zero_grad()
    sc.scale(loss).backward()
    sc.step(opt)
    sc.update()
    if it % 50 == 0:
        print(loss.item(), [(p.grad == 0).float().mean().item() for p in net.parameters()])
