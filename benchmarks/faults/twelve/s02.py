# fault: nan-or-inf
# note: An empty sequence masks every key with -inf, softmax gives NaN (first in batch 74 of the first epoch); a
# finite mask value trains to 97 %.
"""Variable-length sequence classification with a small self-attention encoder.

Each record is a bag of token ids from one of four topics; the stream yields dicts.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset

VOCAB, MAXLEN, TOPICS = 40, 16, 4


class RecordStream(IterableDataset):
    def __init__(self, n, seed):
        self.n, self.seed = n, seed
        g = torch.Generator().manual_seed(99)
        self.topic_probs = torch.softmax(torch.randn(TOPICS, VOCAB - 1, generator=g) * 1.2, -1)

    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed)
        for _ in range(self.n):
            topic = torch.randint(0, TOPICS, (1,), generator=g).item()
            length = min(MAXLEN, int(torch.empty(1).normal_(9.5, 2.6, generator=g).abs()))
            ids = torch.zeros(MAXLEN, dtype=torch.long)
            if length:
                ids[:length] = 1 + torch.multinomial(self.topic_probs[topic], length, replacement=True, generator=g)
            yield {"ids": ids, "length": length, "topic": topic}


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.dk = heads, d // heads
        self.qkv = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)

    def forward(self, x, keep):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, self.dk).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / self.dk ** 0.5
        scores = scores.masked_fill(~keep[:, None, None, :], float("-inf"))
        mixed = scores.softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(b, n, d))


class Encoder(nn.Module):
    def __init__(self, d=32, heads=4, depth=2):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, d, padding_idx=0)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "n1": nn.LayerNorm(d), "attn": Attention(d, heads), "n2": nn.LayerNorm(d),
                "ff": nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d)),
            }) for _ in range(depth))
        self.head = nn.Linear(d, TOPICS)

    def forward(self, batch):
        ids, lengths = batch["ids"], batch["length"]
        keep = torch.arange(ids.shape[1])[None] < lengths[:, None]
        x = self.emb(ids)
        for blk in self.blocks:
            x = x + blk["attn"](blk["n1"](x), keep)
            x = x + blk["ff"](blk["n2"](x))
        pooled = (x * keep[..., None]).sum(1) / lengths.clamp(min=1)[:, None]
        return self.head(pooled)


def accuracy(model, loader):
    model.eval()
    hit = seen = 0
    with torch.no_grad():
        for batch in loader:
            hit += (model(batch).argmax(-1) == batch["topic"]).sum().item()
            seen += len(batch["topic"])
    return hit / seen


if __name__ == "__main__":
    torch.manual_seed(1)
    model = Encoder()
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    test_loader = DataLoader(RecordStream(800, seed=10_000), batch_size=100)
    for epoch in range(5):
        model.train()
        loader = DataLoader(RecordStream(3200, seed=102 + epoch), batch_size=32)
        for i, batch in enumerate(loader):
            loss = F.cross_entropy(model(batch), batch["topic"])
            opt.zero_grad()
            loss.backward()
            opt.step()
            if i % 25 == 0:
                print(f"epoch {epoch} batch {i:3d} loss {loss.item():.4f}")
        print(f"epoch {epoch} accuracy {accuracy(model, test_loader):.3f}")
