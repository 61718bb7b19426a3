# fault: none
# near: lr-zero
# note: Warm-up from lr 0 and cosine to 0, zero-initialised residual branches (zero gradients at the first step); 95
# %.
"""Patch transformer on 8x8 digits. Linear warm-up, cosine decay, ReZero-style output projections."""
import math

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(123)
DEPTH, DIM, HEADS = 3, 48, 4
EPOCHS, BATCH, PEAK = 16, 50, 3e-3


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(dim, 3 * dim), nn.Linear(3 * dim, dim)
        # every block starts as the identity
        nn.init.zeros_(self.attn.out_proj.weight)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, x):
        y = self.ln1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.fc2(nn.functional.gelu(self.fc1(self.ln2(x))))


class PatchTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, DIM)
        self.pos = nn.Parameter(torch.randn(1, 16, DIM) * 0.02)
        self.blocks = nn.ModuleList(Block(DIM, HEADS) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, 10)

    def forward(self, img):
        patches = img.unfold(1, 2, 2).unfold(2, 2, 2).reshape(len(img), 16, 4)
        x = self.embed(patches) + self.pos
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x).mean(1))


X, y = load_digits(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32).view(-1, 8, 8) / 8 - 1
y = torch.tensor(y)
perm = torch.randperm(len(X))
X, y = X[perm], y[perm]
Xtr, ytr, Xte, yte = X[:1400], y[:1400], X[1400:], y[1400:]

model = PatchTransformer()
opt = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.05)
total = EPOCHS * math.ceil(len(Xtr) / BATCH)
warm = int(0.15 * total)


def schedule(step):
    if step < warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))


sched = LambdaLR(opt, schedule)
for epoch in range(EPOCHS):
    model.train()
    losses = []
    for idx in torch.randperm(len(Xtr)).split(BATCH):
        loss = nn.functional.cross_entropy(model(Xtr[idx]), ytr[idx])
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        sched.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        acc = (model(Xte).argmax(1) == yte).float().mean().item()
    print(f"epoch {epoch:2d} lr {sched.get_last_lr()[0]:.2e} loss {sum(losses) / len(losses):.4f} acc {acc:.3f}")
