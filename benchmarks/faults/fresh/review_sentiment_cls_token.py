# fault: constant-output
# note: The [CLS] token stands first, yet attention has a causal mask, so the token that is read out sees only itself and every review gets the same answer. Test accuracy 0.521 (coin) with the fault, 1.000 with the padding mask only.

"""Sentiment of short synthetic reviews with a two-block transformer and a [CLS] summary token."""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

GOOD = "great lovely superb charming brilliant moving".split()
BAD = "awful boring dull clumsy bland tedious".split()
FILL = "the film plot was a and with of scene actor music it rather story end camera".split()
VOCAB = ["[pad]", "[cls]", "not"] + GOOD + BAD + FILL
STOI = {w: i for i, w in enumerate(VOCAB)}
MAXLEN = 18


def review(rnd):
    label = rnd.randint(0, 1)
    words = [rnd.choice(FILL) for _ in range(rnd.randint(8, 12))]
    flip = rnd.random() < 0.2
    for _ in range(2):
        pool = (GOOD, BAD)[(label == 0) ^ flip]
        at = rnd.randint(0, len(words))
        while 0 < at < len(words) and words[at - 1] == "not":
            at = rnd.randint(0, len(words))
        words[at:at] = (["not"] if flip else []) + [rnd.choice(pool)]
    ids = [STOI["[cls]"]] + [STOI[w] for w in words]
    return ids[:MAXLEN] + [0] * (MAXLEN - len(ids)), label


def corpus(n, seed):
    rnd = random.Random(seed)
    rows = [review(rnd) for _ in range(n)]
    return torch.tensor([r[0] for r in rows]), torch.tensor([r[1] for r in rows])


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.ff = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x, mask):
        B, T, D = x.shape
        q, k, v = self.qkv(self.n1(x)).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, D))
        return x + self.ff(self.n2(x))


class SentimentNet(nn.Module):
    def __init__(self, d=48, layers=2, heads=4):
        super().__init__()
        self.tok = nn.Embedding(len(VOCAB), d)
        self.pos = nn.Parameter(0.1 * torch.randn(MAXLEN, d))
        self.blocks = nn.ModuleList([Block(d, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, 2)

    def forward(self, ids):
        T = ids.size(1)
        keep = (ids != 0)[:, None, None, :]
        order = torch.tril(torch.ones(T, T, dtype=torch.bool, device=ids.device))
        mask = keep & order
        h = self.tok(ids) + self.pos[:T]
        for blk in self.blocks:
            h = blk(h, mask)
        return self.head(self.norm(h[:, 0]))


def run_epoch(net, data, opt=None, bs=64):
    ids, y = data
    order = torch.randperm(len(y)) if opt else torch.arange(len(y))
    net.train(opt is not None)
    loss_sum = hits = 0
    with torch.set_grad_enabled(opt is not None):
        for b in order.split(bs):
            logits = net(ids[b])
            loss = F.cross_entropy(logits, y[b])
            if opt:
                opt.zero_grad()
                loss.backward()
                opt.step()
            loss_sum += loss.item() * len(b)
            hits += (logits.argmax(1) == y[b]).sum().item()
    return loss_sum / len(y), hits / len(y)


torch.manual_seed(13)
train, test = corpus(3000, 1), corpus(800, 2)
net = SentimentNet()
opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
for ep in range(6):
    tl, ta = run_epoch(net, train, opt)
    print(f"ep {ep}: train loss {tl:.3f} acc {ta:.3f}")
vl, va = run_epoch(net, test)
print(f"test loss {vl:.3f} accuracy {va:.3f}")
