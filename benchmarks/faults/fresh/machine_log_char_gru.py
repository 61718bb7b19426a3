# fault: none
# near: data-not-shuffled
# note: Valid 0.608 bits/char (unigram 3.987). Stateful truncated BPTT: chunks are read in order and the state is carried, detached, from chunk to chunk, as it must be.

"""Character GRU on one long machine log, truncated BPTT with the hidden state carried from chunk to chunk.

The log is read in order by 16 parallel readers; long operating modes (hundreds of lines) give the memory its use.
"""
import argparse
import math
import random
from collections import Counter

import torch
from torch import nn

MODES = {"idle": ("fan", 10, 20), "mill": ("cut", 40, 60), "wash": ("jet", 70, 90)}


def write_log(lines, seed):
    rng, out, mode = random.Random(seed), [], "idle"
    for _ in range(lines):
        if rng.random() < 0.05:
            mode = rng.choice(list(MODES))
        word, lo, hi = MODES[mode]
        out.append(f"{word}={rng.randint(lo, hi - 1)};")
    return "".join(out)


def to_streams(text, alphabet, readers):
    ids = torch.tensor([alphabet.index(c) for c in text])
    n = (len(ids) - 1) // readers
    x, y = ids[: n * readers].view(readers, n), ids[1: n * readers + 1].view(readers, n)
    return x, y


class LogModel(nn.Module):
    def __init__(self, vocab, dim=32, hidden=96):
        super().__init__()
        self.chars = nn.Embedding(vocab, dim)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, x, h=None):
        y, h = self.gru(self.chars(x), h)
        return self.out(y), h


def chunks(x, y, size):
    for i in range(0, x.size(1), size):
        yield x[:, i:i + size], y[:, i:i + size]


def bits_per_char(model, x, y, size):
    model.eval()
    total, h = 0.0, None
    with torch.no_grad():
        for cx, cy in chunks(x, y, size):
            logits, h = model(cx, h)
            total += nn.functional.cross_entropy(logits.transpose(1, 2), cy, reduction="sum").item()
    return total / y.numel() / math.log(2)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--chunk", type=int, default=35)
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--clip", type=float, default=1.0)
    args = ap.parse_args()
    torch.manual_seed(0)

    train_text, valid_text = write_log(11000, 1), write_log(1500, 2)
    alphabet = sorted(set(train_text))
    counts = Counter(valid_text)
    unigram = -sum(c / len(valid_text) * math.log2(c / len(valid_text)) for c in counts.values())

    x, y = to_streams(train_text, alphabet, 16)
    vx, vy = to_streams(valid_text, alphabet, 4)
    model = LogModel(len(alphabet))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    steps = args.epochs * math.ceil(x.size(1) / args.chunk)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=2e-4)

    for epoch in range(args.epochs):
        model.train()
        h, total, n = None, 0.0, 0
        for cx, cy in chunks(x, y, args.chunk):
            logits, h = model(cx, h)
            h = h.detach()
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), cy.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            optimizer.step()
            scheduler.step()
            total, n = total + loss.item(), n + 1
        print(f"epoch {epoch}: train {total / n / math.log(2):.3f} bits/char, "
              f"valid {bits_per_char(model, vx, vy, args.chunk):.3f}")
    print(f"valid bits/char {bits_per_char(model, vx, vy, args.chunk):.3f} (unigram {unigram:.3f})")


if __name__ == "__main__":
    main()
