# fault: update-too-small
# accept: loss-not-decreasing
# note: The mean loss is divided once more by the training-set size: updates about 2e-6 of the weights, accuracy 12 %;
# without it 97 %.

# softmax net from scratch, tensors only
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

g = torch.Generator().manual_seed(8)
data = load_digits()
Xtr, Xte, ttr, tte = train_test_split(data.data / 16 - 0.3, data.target, test_size=0.2, random_state=8)
Xtr, Xte = torch.tensor(Xtr).float(), torch.tensor(Xte).float()
ttr, tte = torch.tensor(ttr), torch.tensor(tte)
N = len(Xtr)

H = 96
W1 = torch.randn(64, H, generator=g) * (2 / 64) ** 0.5
b1 = torch.zeros(H)
W2 = torch.randn(H, H, generator=g) * (2 / H) ** 0.5
b2 = torch.zeros(H)
W3 = torch.randn(H, 10, generator=g) * (1 / H) ** 0.5
b3 = torch.zeros(10)
params = [W1, b1, W2, b2, W3, b3]
for p in params:
    p.requires_grad_(True)


def forward(x):
    h = (x @ W1 + b1).clamp(min=0)
    h = (h @ W2 + b2).clamp(min=0)
    return h @ W3 + b3


def nll(logits, t):
    logp = logits - logits.logsumexp(1, keepdim=True)
    return -logp[torch.arange(len(t)), t].mean()


opt = torch.optim.SGD(params, lr=0.1)

for epoch in range(30):
    order = torch.randperm(N, generator=g)
    total = 0.0
    for s in range(0, N, 64):
        i = order[s:s + 64]
        data_loss = nll(forward(Xtr[i]), ttr[i])
        obj = data_loss / N
        opt.zero_grad()
        obj.backward()
        opt.step()
        total += data_loss.item() * len(i)
    if epoch % 3 == 2:
        with torch.no_grad():
            acc = (forward(Xte).argmax(1) == tte).float().mean().item()
        print(f"epoch {epoch + 1}: nll {total / N:.4f}  accuracy {acc:.3f}")
