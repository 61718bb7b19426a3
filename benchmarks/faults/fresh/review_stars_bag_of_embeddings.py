# fault: constant-output
# accept: parameter-not-updated, loss-not-decreasing
# note: The padding mask is inverted: only the (zero) padding vectors are pooled, every review gets the same score. Accuracy .514 (constant), repaired .976.

"""Positive or negative review? Masked mean of word embeddings followed by a small classifier."""
import random
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

PAD = 0
NICE = "great lovely superb charming moving brilliant warm clever delightful gripping".split()
NASTY = "dull boring awful clumsy tedious weak stale noisy shallow pointless".split()
FILLER = ("the a film movie plot actor scene it was and with of in music story director ending cast "
          "really quite very script camera this that long short").split()
VOCAB = {w: i + 1 for i, w in enumerate(NICE + NASTY + FILLER)}


@dataclass
class Batch:
    tokens: torch.Tensor
    label: torch.Tensor


def write_review(rnd):
    positive = rnd.random() < 0.5
    words = rnd.choices(FILLER, k=rnd.randint(6, 25))
    for _ in range(rnd.randint(3, 5)):
        pool = NICE if (rnd.random() < 0.9) == positive else NASTY
        words.insert(rnd.randrange(len(words)), rnd.choice(pool))
    return [VOCAB[w] for w in words], float(positive)


def collate(items):
    longest = max(len(t) for t, _ in items)
    tokens = torch.tensor([t + [PAD] * (longest - len(t)) for t, _ in items])
    return Batch(tokens, torch.tensor([l for _, l in items]))


class ReviewClassifier(nn.Module):
    def __init__(self, n_words, dim=32):
        super().__init__()
        self.embed = nn.Embedding(n_words + 1, dim, padding_idx=PAD)
        self.fc1 = nn.Linear(dim, 32)
        self.fc2 = nn.Linear(32, 1)

    def forward(self, tokens):
        mask = tokens.eq(PAD).unsqueeze(-1).float()
        pooled = (self.embed(tokens) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.fc2(torch.tanh(self.fc1(pooled))).squeeze(-1)


def epoch_pass(model, loader, opt=None):
    model.train(opt is not None)
    loss_sum = hits = n = 0
    with torch.set_grad_enabled(opt is not None):
        for b in loader:
            score = model(b.tokens)
            loss = F.binary_cross_entropy_with_logits(score, b.label)
            if opt:
                opt.zero_grad()
                loss.backward()
                opt.step()
            loss_sum += loss.item() * len(b.label)
            hits += ((score > 0).float() == b.label).sum().item()
            n += len(b.label)
    return loss_sum / n, hits / n


def main():
    rnd = random.Random(4)
    torch.manual_seed(4)
    train = DataLoader([write_review(rnd) for _ in range(3000)], batch_size=32, shuffle=True, collate_fn=collate)
    test = DataLoader([write_review(rnd) for _ in range(800)], batch_size=100, collate_fn=collate)
    model = ReviewClassifier(len(VOCAB))
    opt = torch.optim.Adam(model.parameters(), lr=1.5e-3)
    for ep in range(5):
        tr, te = epoch_pass(model, train, opt), epoch_pass(model, test)
        print(f"{ep}: train {tr[0]:.4f}/{tr[1]:.3f}   test {te[0]:.4f}/{te[1]:.3f}")
    print("test accuracy", round(te[1], 3))


main()
