# fault: none
# near: parameter-not-updated
# note: Body frozen on purpose (requires_grad False, BatchNorm in eval), new head built before the second optimizer;
# 97 %.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(10)
torch.set_num_threads(1)

X, y = load_digits(return_X_y=True)
X = torch.from_numpy(X).float().reshape(-1, 1, 8, 8).div(16)
y = torch.from_numpy(y)


def split(classes):
    """Tensors of the given classes, relabelled 0.. and split 80/20."""
    keep = torch.isin(y, torch.tensor(classes))
    xs, ys = X[keep], y[keep] - classes[0]
    p = torch.randperm(len(xs))
    n = int(0.8 * len(xs))
    return xs[p[:n]], ys[p[:n]], xs[p[n:]], ys[p[n:]]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Conv2d(48, 48, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Flatten(),
        )
        self.head = nn.Linear(48 * 4, 5)

    def forward(self, x):
        return self.head(self.body(x))


def loop(net, params, data, epochs, lr, body_train):
    xtr, ytr, xte, yte = data
    opt = torch.optim.Adam(params, lr=lr)
    for e in range(epochs):
        net.train()
        net.body.train(body_train)
        tot = 0.0
        for idx in torch.randperm(len(xtr)).split(24):
            loss = nn.functional.cross_entropy(net(xtr[idx]), ytr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item() * len(idx)
        net.eval()
        with torch.no_grad():
            acc = (net(xte).argmax(1) == yte).float().mean().item()
        if e % 2 == 1:
            print(f"  epoch {e + 1}: loss {tot / len(xtr):.4f}  acc {acc:.3f}")


net = Net()
print("digits 0-4, everything trainable")
loop(net, net.parameters(), split([0, 1, 2, 3, 4]), epochs=6, lr=1e-3, body_train=True)

print("digits 5-9, features kept, fresh linear head")
for p in net.body.parameters():
    p.requires_grad_(False)
net.head = nn.Linear(48 * 4, 5)
loop(net, net.head.parameters(), split([5, 6, 7, 8, 9]), epochs=12, lr=3e-3, body_train=False)
