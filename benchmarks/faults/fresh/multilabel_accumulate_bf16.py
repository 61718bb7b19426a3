# fault: none
# near: gradients-discarded
# note: micro-F1 0.882. zero_grad only after step; losses are divided by the window, and the shorter last window of each epoch is stepped as well; bf16 autocast, loss in fp32; clipping never active.

"""Multi-label tagging of bags of tokens; micro-batches accumulated to a larger batch, bf16 autocast."""
import argparse
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, Dataset


class Bags(Dataset):
    def __init__(self, counts, tags):
        self.counts, self.tags = counts, tags

    def __len__(self):
        return len(self.tags)

    def __getitem__(self, i):
        return {"x": self.counts[i], "tags": self.tags[i]}


class Tagger(nn.Module):
    def __init__(self, n_in, n_tags, hidden=48):
        super().__init__()
        self.inp = nn.Linear(n_in, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, n_tags)
        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, x, tags=None):
        logits = self.out(torch.tanh(self.norm(self.inp(x))))
        return SimpleNamespace(logits=logits, loss=None if tags is None else self.loss(logits.float(), tags))


def build(seed, batch_size):
    counts, tags = make_multilabel_classification(n_samples=6000, n_features=40, n_classes=6, n_labels=2, length=150, random_state=seed)
    counts = np.log1p(counts)
    mean, std = counts[:5000].mean(0), counts[:5000].std(0) + 1e-6
    counts = torch.tensor((counts - mean) / std, dtype=torch.float32)
    tags = torch.tensor(tags, dtype=torch.float32)
    return (DataLoader(Bags(counts[:5000], tags[:5000]), batch_size=batch_size, shuffle=True),
            DataLoader(Bags(counts[5000:], tags[5000:]), batch_size=200))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--micro", type=int, default=14)
    ap.add_argument("--accum", type=int, default=4)
    ap.add_argument("--epochs", type=int, default=6)
    ap.add_argument("--lr", type=float, default=4e-3)
    args = ap.parse_args()
    torch.manual_seed(77)
    train_dl, dev_dl = build(77, args.micro)
    net = Tagger(40, 6)
    opt = torch.optim.AdamW(net.parameters(), lr=args.lr)
    opt.zero_grad()
    updates = 0
    for epoch in range(args.epochs):
        net.train()
        logged = []
        n_batches = len(train_dl)
        for i, batch in enumerate(train_dl):
            window = args.accum
            if i >= n_batches - n_batches % args.accum:          # the rest of the epoch makes a shorter window
                window = n_batches % args.accum
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = net(**batch)
            (out.loss / window).backward()
            logged.append(out.loss.item())
            if (i + 1) % args.accum == 0 or i + 1 == n_batches:
                torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
                opt.step()
                opt.zero_grad()
                updates += 1
        net.eval()
        preds, golds = [], []
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            for batch in dev_dl:
                preds.append(net(batch["x"]).logits > 0)
                golds.append(batch["tags"])
        f1 = f1_score(torch.cat(golds).numpy(), torch.cat(preds).numpy(), average="micro")
        print(f"epoch {epoch} updates {updates} loss {np.mean(logged):.4f} dev micro-F1 {f1:.3f}")
    print(f"micro-F1 {f1:.3f}")


if __name__ == "__main__":
    main()
