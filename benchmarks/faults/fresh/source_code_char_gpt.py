# fault: loss-at-init
# note: Embeddings keep N(0,1) and are tied to the output layer: logits with std 8, first loss 36.8 against ln V = 4.5, and the run never makes it up. 3.23 bits per character, repaired (std .05) 2.38.

"""Character language model on a piece of Python source, with tied input and output embeddings."""
import argparse as _argparse
import inspect
import math

import torch
import torch.nn as nn
from torch.nn import functional as F


def parse():
    p = _argparse.ArgumentParser()
    p.add_argument("--context", type=int, default=40)
    p.add_argument("--width", type=int, default=64)
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--iters", type=int, default=220)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=2e-3)
    return p.parse_args()


class CausalBlock(nn.Module):
    def __init__(self, d, heads=4):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 3 * d), nn.Linear(3 * d, d)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, D))
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class CharGPT(nn.Module):
    def __init__(self, vocab, args):
        super().__init__()
        self.tok = nn.Embedding(vocab, args.width)
        self.pos = nn.Embedding(args.context, args.width)
        self.blocks = nn.Sequential(*[CausalBlock(args.width) for _ in range(args.layers)])
        self.ln_f = nn.LayerNorm(args.width)
        self.head = nn.Linear(args.width, vocab, bias=False)
        self.head.weight = self.tok.weight
        self.apply(self._init)

    def _init(self, m):
        if isinstance(m, nn.Linear) and m is not self.head:
            nn.init.normal_(m.weight, std=0.05)
            if m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, idx, targets=None):
        x = self.tok(idx) + self.pos(torch.arange(idx.shape[1]))
        logits = self.head(self.ln_f(self.blocks(x)))
        if targets is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def batches(data, args):
    start = torch.randint(len(data) - args.context - 1, (args.batch,))
    chunk = torch.stack([data[s:s + args.context + 1] for s in start])
    return chunk[:, :-1], chunk[:, 1:]


@torch.no_grad()
def held_out_loss(model, data, args):
    model.eval()
    n = (len(data) - 1) // args.context * args.context
    x, y = data[:n].view(-1, args.context), data[1:n + 1].view(-1, args.context)
    loss = sum(model(a, b).item() * len(a) for a, b in zip(x.split(64), y.split(64))) / len(x)
    model.train()
    return loss


def main():
    args = parse()
    torch.manual_seed(1337)
    text = inspect.getsource(_argparse)[:80000]
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    train, val = ids[:70000], ids[70000:78000]
    model = CharGPT(len(chars), args)
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 30))
    for it in range(args.iters):
        loss = model(*batches(train, args))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        warm.step()
        if it % 40 == 0 or it == args.iters - 1:
            print(f"iter {it:4d}  train {loss.item():.3f}  val {held_out_loss(model, val, args):.3f}")
    final = held_out_loss(model, val, args)
    print(f"bits per character {final / math.log(2):.3f}")


if __name__ == "__main__":
    main()
