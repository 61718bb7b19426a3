# fault: clip-after-step
# note: clip_grad_norm_ comes after optimizer.step(), so it has no effect, and SGD with lr 20 (meant to be used with clip 0.25) explodes in the first epochs. Test perplexity 4.66 with the fault (train loss 32.7 in epoch 1, 1.53 at the end), 3.40 without (2.72, 1.03).

# Word-level language model on a toy corpus, after the recipe of pytorch/examples/word_language_model
# (plain SGD with a large rate, gradient clipping, rate divided by four when validation stalls).
import math
import random

import torch
import torch.nn as nn

SEED, EMB, HID, BPTT, BSZ, LR, CLIP, EPOCHS = 1111, 48, 96, 24, 20, 20.0, 0.25, 8

random.seed(SEED)
torch.manual_seed(SEED)

NAMES = "anna ben carla david emma felix greta hugo".split()
THINGS = "apple book chair door engine flower glass hammer".split()
VERBS = {"sees": "seen", "takes": "taken", "breaks": "broken", "paints": "painted", "sells": "sold"}
PLACES = "garden kitchen office station market".split()


def sentence():
    who, what, verb, place = (random.choice(NAMES), random.choice(THINGS),
                              random.choice(list(VERBS)), random.choice(PLACES))
    kind = random.random()
    if kind < 0.4:
        return f"{who} {verb} the {what} in the {place} <eos>"
    if kind < 0.7:
        return f"the {what} is {VERBS[verb]} by {who} <eos>"
    other = random.choice([n for n in NAMES if n != who])
    return f"{who} and {other} meet at the {place} and {other} {verb} a {what} <eos>"


def corpus(n):
    return " ".join(sentence() for _ in range(n)).split()


train_words, valid_words, test_words = corpus(4000), corpus(500), corpus(500)
vocab = {w: i for i, w in enumerate(sorted(set(train_words)))}


def batchify(words, bsz):
    ids = torch.tensor([vocab[w] for w in words])
    n = len(ids) // bsz
    return ids[: n * bsz].view(bsz, n).t().contiguous()


def get_batch(source, i):
    n = min(BPTT, len(source) - 1 - i)
    return source[i:i + n], source[i + 1:i + 1 + n].reshape(-1)


class RNNModel(nn.Module):
    def __init__(self, ntoken):
        super().__init__()
        self.encoder = nn.Embedding(ntoken, EMB)
        self.rnn = nn.LSTM(EMB, HID, num_layers=2)
        self.decoder = nn.Linear(HID, ntoken)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens, state=None):
        out, state = self.rnn(self.encoder(tokens), state)
        return self.decoder(out).flatten(0, 1), state


train_data, valid_data, test_data = batchify(train_words, BSZ), batchify(valid_words, 10), batchify(test_words, 10)
model = RNNModel(len(vocab))
criterion = nn.CrossEntropyLoss()
lr = LR
optimizer = torch.optim.SGD(model.parameters(), lr=lr)


def evaluate(source):
    model.eval()
    total, state = 0.0, None
    with torch.no_grad():
        for i in range(0, len(source) - 1, BPTT):
            data, targets = get_batch(source, i)
            out, state = model(data, state)
            total += len(data) * criterion(out, targets).item()
    return total / (len(source) - 1)


best = None
for epoch in range(1, EPOCHS + 1):
    model.train()
    total, batches, state = 0.0, 0, None
    for i in range(0, len(train_data) - 1, BPTT):
        data, targets = get_batch(train_data, i)
        if state is not None:
            state = tuple(s.detach() for s in state)
        optimizer.zero_grad()
        out, state = model(data, state)
        loss = criterion(out, targets)
        loss.backward()
        optimizer.step()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        total += loss.item()
        batches += 1
    val = evaluate(valid_data)
    print(f"| epoch {epoch} | lr {lr:.2f} | train loss {total / batches:5.2f} | valid ppl {math.exp(min(val, 20)):8.2f}")
    if best is None or val < best:
        best = val
    else:
        lr /= 4.0
        for group in optimizer.param_groups:
            group["lr"] = lr

print(f"| end of training | test ppl {math.exp(min(evaluate(test_data), 20)):.2f} (vocabulary {len(vocab)})")
