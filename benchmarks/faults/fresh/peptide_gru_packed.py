# fault: labels-misaligned
# accept: label-noise
# note: collate sorts the sequences by length for packing but leaves the labels in the old order. Validation accuracy 0.526 with the fault, 1.000 when the rows are sorted together.

"""Variable-length peptide strings -> binds / does not bind, with a packed GRU."""
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

AMINO = "ACDEFGHIKLMNPQRSTVWY"
INDEX = {a: i + 1 for i, a in enumerate(AMINO)}          # 0 is padding
MOTIFS = ["WKR", "FKH", "YRK"]


def make_peptides(n, seed):
    rng = random.Random(seed)
    rows = []
    while len(rows) < n:
        s = [rng.choice(AMINO) for _ in range(rng.randint(8, 24))]
        label = rng.randint(0, 1)
        if label:
            motif = rng.choice(MOTIFS)
            k = rng.randint(0, len(s) - len(motif))
            s[k:k + len(motif)] = motif
        s = "".join(s)
        if bool(label) == any(m in s for m in MOTIFS):
            rows.append((s, label))
    return rows


def encode(s):
    return torch.tensor([INDEX[a] for a in s])


def collate(rows):
    sequences = [encode(s) for s, _ in rows]
    labels = torch.tensor([label for _, label in rows], dtype=torch.float32)
    sequences.sort(key=len, reverse=True)
    lengths = torch.tensor([len(s) for s in sequences])
    return pad_sequence(sequences, batch_first=True), lengths, labels


class Binder(nn.Module):
    def __init__(self, dim=24, hidden=48):
        super().__init__()
        self.embedding = nn.Embedding(len(AMINO) + 1, dim, padding_idx=0)
        self.gru = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.score = nn.Sequential(nn.Linear(2 * hidden, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, padded, lengths):
        packed = pack_padded_sequence(self.embedding(padded), lengths, batch_first=True)
        _, last = self.gru(packed)
        return self.score(torch.cat([last[0], last[1]], dim=1)).squeeze(1)


def accuracy(model, loader):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for padded, lengths, labels in loader:
            right += ((model(padded, lengths) > 0).float() == labels).sum().item()
            total += len(labels)
    return right / total


def fit(model, train, valid, epochs, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(epochs):
        model.train()
        mean = 0.0
        for i, (padded, lengths, labels) in enumerate(train):
            loss = criterion(model(padded, lengths), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            mean += (loss.item() - mean) / (i + 1)
        print(f"epoch {epoch + 1} loss {mean:.4f} valid accuracy {accuracy(model, valid):.3f}")


if __name__ == "__main__":
    torch.manual_seed(6)
    train = DataLoader(make_peptides(5000, 1), batch_size=50, shuffle=True, collate_fn=collate)
    valid = DataLoader(make_peptides(1000, 2), batch_size=100, collate_fn=collate)
    model = Binder()
    fit(model, train, valid, epochs=8, lr=4e-3)
    print(f"final validation accuracy {accuracy(model, valid):.3f}")
