# fault: none
# near: double-softmax
# note: mean test accuracy 0.988 over three trainings one after another. No nn.Module; log-probabilities are normalised once, the hand-written NLL takes log-probabilities; exp() only for the argmax.

"""Softmax regression with one hidden layer, no nn.Module; two seeds after each other, hand-written NLL."""
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split


def init(sizes, gen):
    params = []
    for a, b in zip(sizes, sizes[1:]):
        params.append((torch.randn(a, b, generator=gen) * (1.0 / a) ** 0.5).requires_grad_())
        params.append(torch.zeros(b, requires_grad=True))
    return params


def log_probs(params, x):
    w1, b1, w2, b2 = params
    h = torch.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    return z - z.logsumexp(dim=1, keepdim=True)


def nll(lp, t):
    return -lp.gather(1, t[:, None]).squeeze(1).mean()


def experiment(seed, X, y):
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    mu, sd = Xtr.mean(0), Xtr.std(0)
    as_t = lambda a: torch.tensor((a - mu) / sd, dtype=torch.float32)
    Xtr, Xte, ytr, yte = as_t(Xtr), as_t(Xte), torch.tensor(ytr), torch.tensor(yte)
    gen = torch.Generator().manual_seed(seed)
    params = init([13, 16, 3], gen)
    opt = torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    for epoch in range(20):
        total = 0.0
        for idx in torch.randperm(len(Xtr), generator=gen).split(31):
            loss = nll(log_probs(params, Xtr[idx]), ytr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx) / len(Xtr)
    with torch.no_grad():
        lp = log_probs(params, Xte)
        acc = (lp.exp().argmax(1) == yte).float().mean().item()
    print(f"seed {seed}: train nll {total:.4f}, test nll {nll(lp, yte).item():.4f}, test accuracy {acc:.4f}")
    return acc


X, y = load_wine(return_X_y=True)
scores = [experiment(s, X, y) for s in (0, 1, 2)]
print("mean test accuracy %.4f" % (sum(scores) / len(scores)))
