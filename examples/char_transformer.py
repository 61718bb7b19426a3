"""A small character-level language model, trained on the source code of Python's standard library.

A GPT-like transformer with AdamW, linear warm-up and cosine decay of the learning rate, gradient
clipping and dropout. Prints the evaluation loss as it goes and a sample at the end.
"""

import argparse
import importlib
import inspect
import math

import torch
import torch.nn.functional as F
from torch import nn

MODULES = (
    "argparse ast bisect calendar collections configparser copy csv dataclasses difflib fractions "
    "functools glob heapq inspect json logging pathlib random shutil statistics string tempfile"
).split()


def load_text():
    sources = (inspect.getsource(importlib.import_module(name)) for name in MODULES)
    return "\n".join(sources).encode("ascii", "replace").decode("ascii")


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )
        self.drop = nn.Dropout(dropout)

    def attend(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, length, width / heads)
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.proj(out.transpose(1, 2).reshape(batch, length, width))

    def forward(self, x):
        x = x + self.drop(self.attend(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class CharTransformer(nn.Module):
    def __init__(self, vocab_size, context, width, depth, heads, dropout):
        super().__init__()
        self.context = context
        self.token = nn.Embedding(vocab_size, width)
        self.position = nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.5 / math.sqrt(width))
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.drop(self.token(ids) + self.position(positions))
        return self.head(self.norm(self.blocks(x)))

    @torch.no_grad()
    def sample(self, ids, length):
        self.eval()
        for _ in range(length):
            logits = self(ids[:, -self.context :])[:, -1]
            next_id = torch.multinomial(F.softmax(logits, dim=-1), 1)
            ids = torch.cat([ids, next_id], dim=1)
        return ids


def split_data(data, chunk=2000):
    """Every tenth chunk is for evaluation, so that both parts hold something of each module."""
    chunks = data[: len(data) // chunk * chunk].view(-1, chunk)
    for_eval = torch.arange(len(chunks)) % 10 == 0
    return chunks[~for_eval].flatten(), chunks[for_eval].flatten()


def get_batch(data, batch_size, context):
    starts = torch.randint(len(data) - context, (batch_size, 1))
    windows = data[starts + torch.arange(context + 1)]
    return windows[:, :-1], windows[:, 1:]


def loss_of(model, ids, targets):
    return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())


@torch.no_grad()
def evaluate(model, batches):
    model.eval()
    losses = [loss_of(model, ids, targets).item() for ids, targets in batches]
    model.train()
    return sum(losses) / len(losses)


def learning_rate(step, args):
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    progress = (step - args.warmup) / max(1, args.steps - args.warmup)
    return args.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))  # ends at a tenth


def make_optimizer(model, args):
    # Weight decay is for matrices; biases and LayerNorm's gains are left alone.
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": args.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.99))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--context", type=int, default=64, help="characters the model can see")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=5e-3, help="highest learning rate")
    parser.add_argument("--warmup", type=int, default=50, help="steps of linear warm-up")
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=1.0, help="bound on the gradient's norm")
    parser.add_argument("--eval-every", type=int, default=100)
    parser.add_argument("--sample", type=int, default=300, help="characters to write at the end")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    text = load_text()
    alphabet = sorted(set(text))
    index = {char: i for i, char in enumerate(alphabet)}
    data = torch.tensor([index[char] for char in text])
    train_data, eval_data = split_data(data)
    eval_batches = [get_batch(eval_data, args.batch_size, args.context) for _ in range(10)]

    model = CharTransformer(
        len(alphabet),
        context=args.context,
        width=args.width,
        depth=args.depth,
        heads=args.heads,
        dropout=args.dropout,
    )
    optimizer = make_optimizer(model, args)
    print(
        f"{len(text):,} characters, {len(alphabet)} different ones; "
        f"{sum(p.numel() for p in model.parameters()):,} parameters"
    )

    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        ids, targets = get_batch(train_data, args.batch_size, args.context)
        loss = loss_of(model, ids, targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        if (step + 1) % args.eval_every == 0 or step + 1 == args.steps:
            eval_loss = evaluate(model, eval_batches)
            print(f"step {step + 1:5d}  train loss {loss.item():.3f}  eval loss {eval_loss:.3f}")

    prompt = torch.tensor([[index[char] for char in "\ndef "]])
    written = model.sample(prompt, args.sample)[0].tolist()
    print("".join(alphabet[i] for i in written))


if __name__ == "__main__":
    main()
