# fault: dropout-too-high
# accept: underfitting
# note: TF1's keep_prob=.9 is given to nn.Dropout as the drop probability, in three layers. Test accuracy .468 and test loss 2.04 (ln 8 = 2.08), repaired (1 - keep_prob) .967 and .096.

"""Topic classification with bag-of-words counts. Port of our old Keras/TF1 notebook to torch."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HP = dict(vocab=600, hidden=64, layers=3, keep_prob=0.9, lr=5e-4, epochs=8, batch=64)


def corpus(n_docs, topics=8, vocab=600, seed=0):
    rng = np.random.default_rng(123)
    background = rng.dirichlet(np.full(vocab, 0.3))
    word_dist = [0.86 * background + 0.14 * rng.dirichlet(np.full(vocab, 0.05)) for _ in range(topics)]
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, topics, n_docs)
    counts = np.stack([rng.multinomial(rng.integers(40, 120), word_dist[t]) for t in topic])
    return counts, topic


def tfidf(counts, idf):
    x = np.log1p(counts) * idf
    return x / np.linalg.norm(x, axis=1, keepdims=True) * 8.0


class TopicMLP(nn.Module):
    def __init__(self, vocab, hidden, layers, keep_prob, n_topics=8):
        super().__init__()
        sizes = [vocab] + [hidden] * layers
        mods = []
        for a, b in zip(sizes, sizes[1:]):
            mods += [nn.Linear(a, b), nn.ELU(), nn.Dropout(keep_prob)]
        self.stack = nn.Sequential(*mods)
        self.logits = nn.Linear(hidden, n_topics)

    def forward(self, x):
        return self.logits(self.stack(x))


def main():
    torch.manual_seed(1)
    c_train, t_train = corpus(3000, seed=1)
    c_test, t_test = corpus(800, seed=2)
    idf = np.log(len(c_train) / (1 + (c_train > 0).sum(0)))
    to = lambda c: torch.tensor(tfidf(c, idf), dtype=torch.float32)
    loader = DataLoader(TensorDataset(to(c_train), torch.tensor(t_train)), batch_size=HP["batch"], shuffle=True)
    x_test, t_test = to(c_test), torch.tensor(t_test)

    net = TopicMLP(HP["vocab"], HP["hidden"], HP["layers"], HP["keep_prob"])
    opt = torch.optim.Adam(net.parameters(), lr=HP["lr"], weight_decay=1e-4)
    for epoch in range(1, HP["epochs"] + 1):
        net.train()
        tot = hit = 0
        for x, t in loader:
            z = net(x)
            loss = nn.functional.cross_entropy(z, t)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item() * len(t)
            hit += (z.argmax(1) == t).sum().item()
        net.eval()
        with torch.inference_mode():
            z = net(x_test)
            test_loss = nn.functional.cross_entropy(z, t_test).item()
            acc = (z.argmax(1) == t_test).float().mean().item()
        print(f"epoch {epoch}: train loss {tot / 3000:.3f} acc {hit / 3000:.3f} | test loss {test_loss:.3f} acc {acc:.3f}")
    print("test accuracy %.3f" % acc)


if __name__ == "__main__":
    main()
