# fault: loss-diverging
# accept: saturated-units
# note: SGD(maximize=True) ascends the cross entropy: loss rises linearly to 6e4, accuracy 0.16; without it 0.96.
# (tanh units end pinned, a companion.)
"""Sentence-topic classifier: EmbeddingBag + linear, with micro-batches.

Synthetic corpus: every topic has its own word distribution over a shared Zipf vocabulary.
"""
import argparse
import torch
import torch.nn as nn

VOCAB, TOPICS = 500, 6


def build_corpus(n, gen, probs):
    topics = torch.randint(0, TOPICS, (n,), generator=gen)
    lengths = torch.randint(8, 30, (n,), generator=gen)
    docs = [torch.multinomial(probs[t], int(l), replacement=True, generator=gen) for t, l in zip(topics, lengths)]
    return docs, topics


def collate(docs):
    offsets = torch.tensor([0] + [len(d) for d in docs[:-1]]).cumsum(0)
    return torch.cat(docs), offsets


class TopicModel(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.bag = nn.EmbeddingBag(VOCAB, dim, mode="mean")
        self.hidden = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, TOPICS)

    def forward(self, words, offsets):
        return self.out(torch.tanh(self.hidden(self.bag(words, offsets))))


def accuracy(model, docs, topics):
    model.eval()
    with torch.no_grad():
        guess = model(*collate(docs)).argmax(1)
    model.train()
    return (guess == topics).float().mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=750)
    ap.add_argument("--micro", type=int, default=48)
    ap.add_argument("--accum", type=int, default=8)
    ap.add_argument("--lr", type=float, default=0.3)
    args = ap.parse_args()

    torch.manual_seed(9)
    gen = torch.Generator().manual_seed(9)
    zipf = 1.0 / torch.arange(1, VOCAB + 1)
    probs = zipf * torch.exp(1.2 * torch.randn(TOPICS, VOCAB, generator=gen))
    docs, topics = build_corpus(12000, gen, probs)
    test_docs, test_topics = build_corpus(1500, gen, probs)

    model = TopicModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, maximize=True)
    loss_fn = nn.CrossEntropyLoss()
    smooth = 0.0
    for step in range(args.steps):
        optimizer.zero_grad()
        for _ in range(args.accum):
            pick = torch.randint(0, len(docs), (args.micro,), generator=gen)
            words, offsets = collate([docs[i] for i in pick])
            loss = loss_fn(model(words, offsets), topics[pick]) / args.accum
            loss.backward()
            smooth += loss.item() / 75
        optimizer.step()
        if (step + 1) % 75 == 0:
            print(f"update {step + 1:4d}  loss {smooth:10.4f}  accuracy {accuracy(model, test_docs, test_topics):.3f}")
            smooth = 0.0


if __name__ == "__main__":
    main()
