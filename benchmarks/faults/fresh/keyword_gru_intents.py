# fault: gradients-not-cleared
# note: `optimizer.zero_grad` without parentheses: gradients of all batches add up. Loss climbs to 1447, dev accuracy 0.48; with the call 1.00.

"""Intent classification with a GRU over templated utterances."""
import random
from collections import Counter

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence

PEOPLE = "mum dad alice bob carol the boss my landlord grandma peter anna the dentist sven".split()
FOOD = "pizza sushi noodles a salad tacos curry dumplings soup a burger falafel".split()
TIMES = "now today tomorrow tonight later soon at noon at seven next week on monday".split()
FILL = "please could you i want to hey just maybe ok then well so kindly can we".split()
TEMPLATES = {
    "call": ["{f} call {p} {t}", "{f} ring {p} {f} {t}", "{p} {f} phone {t}"],
    "text": ["{f} text {p} {t}", "{f} send {p} a message {t}", "write {p} {f} a note {t}"],
    "order": ["{f} order {d} {t}", "get {f} {d} delivered {t}", "{f} buy {d} for {p} {t}"],
    "remind": ["{f} remind me to call {p} {t}", "note to order {d} {t} {f}", "{f} remind {p} to text {t}"],
    "cancel": ["{f} cancel the {d} order {t}", "do not call {p} {t} {f}", "{f} forget the message to {p}"],
}


def utterances(per_intent, rnd):
    rows = set()
    for label, intent in enumerate(TEMPLATES):
        have = 0
        while have < per_intent:
            s = rnd.choice(TEMPLATES[intent])
            s = s.replace("{f}", " ".join(rnd.sample(FILL, rnd.randint(1, 3))))
            s = s.format(p=rnd.choice(PEOPLE), d=rnd.choice(FOOD), t=rnd.choice(TIMES))
            if (s, label) not in rows:
                rows.add((s, label))
                have += 1
    rows = sorted(rows)
    rnd.shuffle(rows)
    return rows


class IntentNet(nn.Module):
    def __init__(self, vocab, dim=24, hidden=32, n_out=5):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.rnn = nn.GRU(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, n_out)

    def forward(self, ids, lengths):
        h, _ = self.rnn(self.emb(ids))
        return self.out(h[torch.arange(len(ids)), lengths - 1])


def batches(rows, vocab, size, rnd=None):
    rows = list(rows)
    if rnd:
        rnd.shuffle(rows)
    for i in range(0, len(rows), size):
        part = rows[i:i + size]
        seqs = [torch.tensor([vocab[w] for w in s.split()]) for s, _ in part]
        yield pad_sequence(seqs, batch_first=True), torch.tensor([len(s) for s in seqs]), torch.tensor([l for _, l in part])


rnd = random.Random(8)
torch.manual_seed(8)
rows = utterances(300, rnd)
train_rows, dev_rows = rows[:1200], rows[1200:]
words = Counter(w for s, _ in rows for w in s.split())
vocab = {w: i + 1 for i, (w, _) in enumerate(words.most_common())}

net = IntentNet(len(vocab) + 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.15, momentum=0.9)
criterion = nn.CrossEntropyLoss()

for epoch in range(10):
    net.train()
    epoch_loss = []
    for ids, lengths, labels in batches(train_rows, vocab, 32, rnd):
        optimizer.zero_grad
        loss = criterion(net(ids, lengths), labels)
        loss.backward()
        optimizer.step()
        epoch_loss.append(loss.item())
    net.eval()
    with torch.no_grad():
        good = sum((net(i, n).argmax(1) == l).sum().item() for i, n, l in batches(dev_rows, vocab, 100))
    print(f"epoch {epoch} loss {sum(epoch_loss) / len(epoch_loss):.4f} dev {good / len(dev_rows):.3f}")
print("dev accuracy", good / len(dev_rows))
