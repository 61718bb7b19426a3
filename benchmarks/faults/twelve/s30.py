# fault: none
# accept: clip-always-active
# near: clip-always-active
# note: LSTM language model, SGD lr 16 with clipping at 0.15 active in nearly every step; valid loss 2.3 -> 1.81.

# Character-level language model, in the manner of the classic word_language_model example.
import argparse
import math
from pydoc_data.topics import topics

import torch
import torch.nn as nn

parser = argparse.ArgumentParser()
parser.add_argument('--emsize', type=int, default=32)
parser.add_argument('--nhid', type=int, default=96)
parser.add_argument('--lr', type=float, default=16)
parser.add_argument('--clip', type=float, default=0.15)
parser.add_argument('--epochs', type=int, default=6)
parser.add_argument('--batch_size', type=int, default=16)
parser.add_argument('--bptt', type=int, default=30)
parser.add_argument('--seed', type=int, default=1111)
args = parser.parse_args()
torch.manual_seed(args.seed)

text = '\n'.join(topics[k] for k in sorted(topics))
text = text.encode('ascii', 'ignore').decode()[:40000]
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
ids = torch.tensor([stoi[c] for c in text])
cut = int(len(ids) * 0.92)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    return data[:nbatch * bsz].view(bsz, -1).t().contiguous()


train_data = batchify(ids[:cut], args.batch_size)
val_data = batchify(ids[cut:], 2)


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid):
        super().__init__()
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid)
        self.decoder = nn.Linear(nhid, ntoken)

    def forward(self, x, hidden=None):
        out, hidden = self.rnn(self.encoder(x), hidden)
        return self.decoder(out).flatten(0, 1), hidden


def get_batch(source, i):
    seq_len = min(args.bptt, len(source) - 1 - i)
    return source[i:i + seq_len], source[i + 1:i + 1 + seq_len].reshape(-1)


def evaluate(source):
    model.eval()
    total, hidden = 0., None
    with torch.no_grad():
        for i in range(0, source.size(0) - 1, args.bptt):
            data, targets = get_batch(source, i)
            output, hidden = model(data, hidden)
            total += len(data) * criterion(output, targets).item()
    return total / (len(source) - 1)


model = RNNModel(len(chars), args.emsize, args.nhid)
criterion = nn.CrossEntropyLoss()
lr, best = args.lr, None
for epoch in range(1, args.epochs + 1):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    total, n, hidden = 0., 0, None
    for i in range(0, train_data.size(0) - 1, args.bptt):
        data, targets = get_batch(train_data, i)
        hidden = None if hidden is None else tuple(h.detach() for h in hidden)
        optimizer.zero_grad()
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        total, n = total + loss.item(), n + 1
    val = evaluate(val_data)
    print('| epoch {:3d} | lr {:5.2f} | train {:5.3f} | valid {:5.3f} | valid ppl {:6.2f}'.format(epoch, lr, total / n, val, math.exp(val)))
    if best is None or val < best:
        best = val
    else:
        lr /= 4.0
