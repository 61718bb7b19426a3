# fault: wrong-softmax-dim
# accept: batch-mixing
# note: The attention weights are normalised over dim 0, the batch, instead of over time (dim 1), so that reviews compete with each other and the output depends on the batch. Accuracy 0.828 (tested with batches of one); with dim=1 0.975.

"""Sentiment of synthetic reviews: bi-GRU, attention pooling, padded batches as dicts."""
import random

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

GOOD = ["lovely", "great", "superb", "charming", "crisp"]
BAD = ["awful", "dull", "broken", "bland", "noisy"]
FILLER = ["the", "a", "room", "food", "was", "and", "with", "staff", "view", "bed", "we", "had", "in", "of", "on",
          "night", "menu", "place", "table", "it", "very", "there"]
VOCAB = {w: i + 1 for i, w in enumerate(GOOD + BAD + FILLER + ["not"])}


def write_review(rng):
    label = rng.randint(0, 1)
    words = [rng.choice(FILLER) for _ in range(rng.randint(8, 26))]
    for _ in range(rng.randint(1, 3)):
        negate = rng.random() < 0.3
        bank = GOOD if (label == 1) != negate else BAD
        phrase = ([("not")] if negate else []) + [rng.choice(bank)]
        at = rng.randint(0, len(words))
        words[at:at] = phrase
    return {"text": words, "label": label}


def collate(rows):
    ids = [torch.tensor([VOCAB[w] for w in r["text"]]) for r in rows]
    padded = pad_sequence(ids, batch_first=True)
    return {"input_ids": padded, "mask": padded != 0, "label": torch.tensor([r["label"] for r in rows])}


class AttentionPool(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))

    def forward(self, h, mask):
        e = self.score(h).squeeze(-1).masked_fill(~mask, -1e4)
        a = torch.softmax(e, dim=0)
        return torch.einsum("bt,bth->bh", a, h)


class ReviewClassifier(nn.Module):
    def __init__(self, vocab, emb=24, hid=24):
        super().__init__()
        self.embed = nn.Embedding(vocab, emb, padding_idx=0)
        self.rnn = nn.GRU(emb, hid, batch_first=True, bidirectional=True)
        self.pool = AttentionPool(2 * hid)
        self.fc = nn.Linear(2 * hid, 2)

    def forward(self, batch):
        h, _ = self.rnn(self.embed(batch["input_ids"]))
        return self.fc(self.pool(h, batch["mask"]))


def evaluate(model, loader):
    model.eval()
    good = 0
    with torch.no_grad():
        for batch in loader:
            good += (model(batch).argmax(-1) == batch["label"]).sum().item()
    return good / len(loader.dataset)


if __name__ == "__main__":
    rng = random.Random(0)
    torch.manual_seed(0)
    train = [write_review(rng) for _ in range(1600)]
    test = [write_review(rng) for _ in range(400)]
    train_loader = DataLoader(train, batch_size=32, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(test, batch_size=1, collate_fn=collate)
    model = ReviewClassifier(len(VOCAB) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    ce = nn.CrossEntropyLoss()
    for epoch in range(6):
        model.train()
        tot = 0
        for batch in train_loader:
            optimizer.zero_grad()
            loss = ce(model(batch), batch["label"])
            loss.backward()
            optimizer.step()
            tot += loss.item()
        print(f"epoch {epoch}: train loss {tot / len(train_loader):.4f}, test accuracy {evaluate(model, test_loader):.3f}")
    print("test accuracy %.3f" % evaluate(model, test_loader))
