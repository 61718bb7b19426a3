# fault: symmetric-init
# note: Every layer starts with one constant (1 / n_in), so the 48 hidden units of a layer are identical and stay so. Test accuracy 0.682; with randn / sqrt(n_in) 0.992.

# A two-layer network "by hand": parameters are plain tensors, no nn.Module, momentum SGD.
import math

import torch

torch.manual_seed(6)


def spirals(n, noise=0.08):
    t = torch.sqrt(torch.rand(n)) * 2.2 * math.pi
    side = torch.randint(0, 2, (n,))
    sign = side.float() * 2 - 1
    pts = torch.stack([sign * t * torch.cos(t), sign * t * torch.sin(t)], 1) / (1.3 * math.pi)
    return pts + noise * torch.randn(n, 2), side


def init_layer(n_in, n_out):
    w = torch.full((n_in, n_out), 1.0 / n_in)
    b = torch.zeros(n_out)
    return w.requires_grad_(), b.requires_grad_()


def forward(x, layers):
    for w, b in layers[:-1]:
        x = torch.tanh(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


x_train, y_train = spirals(2000)
x_test, y_test = spirals(500)

layers = [init_layer(2, 48), init_layer(48, 48), init_layer(48, 2)]
params = [p for layer in layers for p in layer]
sgd = torch.optim.SGD(params, lr=0.1, momentum=0.9)

for epoch in range(60):
    perm = torch.randperm(len(x_train))
    for k in range(0, len(perm), 50):
        rows = perm[k:k + 50]
        logits = forward(x_train[rows], layers)
        logp = logits - torch.logsumexp(logits, dim=1, keepdim=True)
        loss = -logp[torch.arange(len(rows)), y_train[rows]].mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    if epoch % 10 == 9:
        with torch.no_grad():
            acc = (forward(x_test, layers).argmax(1) == y_test).double().mean()
        print("epoch", epoch + 1, "loss %.3f" % loss.item(), "test accuracy %.3f" % acc.item())

print("spirals: test accuracy = %.3f" % acc.item())
