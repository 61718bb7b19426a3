# fault: symmetric-init
# note: Both weight matrices start at one constant, so all 64 hidden units stay identical. Accuracy on new points 0.480 with the fault, 1.000 with random starts. Hand-written SGD, no torch.optim.

# A two-layer network on the three-arm spiral, with tensors only (no torch.nn).
import torch

torch.manual_seed(0)


def spiral(n_per, gen):
    xs, ys = [], []
    for arm in range(3):
        r = torch.linspace(0.05, 1, n_per)
        a = torch.linspace(arm * 2.1, arm * 2.1 + 3.2, n_per) + 0.12 * torch.randn(n_per, generator=gen)
        xs.append(torch.stack([r * a.sin(), r * a.cos()], 1))
        ys.append(torch.full((n_per,), arm))
    return torch.cat(xs), torch.cat(ys)


gen = torch.Generator().manual_seed(1)
X, y = spiral(300, gen)
X_new, y_new = spiral(100, gen)
mu, sd = X.mean(0), X.std(0)
X, X_new = (X - mu) / sd, (X_new - mu) / sd

H = 64
W1 = torch.full((2, H), 0.5, requires_grad=True)
b1 = torch.zeros(H, requires_grad=True)
W2 = torch.full((H, 3), 0.1, requires_grad=True)
b2 = torch.zeros(3, requires_grad=True)
params = [W1, b1, W2, b2]


def scores(x):
    return torch.tanh(x @ W1 + b1) @ W2 + b2


def cross_entropy(s, t):
    return (torch.logsumexp(s, 1) - s[torch.arange(len(t)), t]).mean()


lr, batch = 0.2, 50
for epoch in range(60):
    for idx in torch.randperm(len(X)).split(batch):
        loss = cross_entropy(scores(X[idx]), y[idx])
        loss.backward()
        with torch.no_grad():
            for p in params:
                p -= lr * p.grad
                p.grad = None
    if epoch % 15 == 14:
        print(epoch + 1, "loss %.3f" % cross_entropy(scores(X), y).item())

with torch.no_grad():
    acc = (scores(X_new).argmax(1) == y_new).float().mean().item()
print("accuracy on new points: %.3f" % acc)
