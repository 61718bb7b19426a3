# fault: parameter-not-updated
# note: The optimizer's groups are made from names that end in weight or bias, so pos_embed (zeros at the start) falls through and never changes: the transformer is blind to order. Accuracy 0.713; with pos_embed in a group 0.962.

"""A miniature ViT on the 8x8 digits."""
import math

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

torch.manual_seed(1)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        n = self.norm1(x)
        x = x + self.attn(n, n, n, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class MiniViT(nn.Module):
    def __init__(self, patch=2, dim=32, depth=2, heads=4, classes=10):
        super().__init__()
        self.patch = patch
        n_tokens = (8 // patch) ** 2
        self.to_token = nn.Linear(patch * patch, dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, n_tokens, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, img):
        p = self.patch
        tokens = img.unfold(1, p, p).unfold(2, p, p).flatten(3).flatten(1, 2)
        x = self.to_token(tokens) + self.pos_embed
        return self.head(self.norm(self.blocks(x)).mean(1))


def build_optimizer(model, lr, weight_decay):
    decay, plain = [], []
    for name, module in model.named_modules():
        for pname, p in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm) or pname.endswith("bias"):
                plain.append(p)
            elif pname.endswith("weight"):
                decay.append(p)
    return torch.optim.AdamW([{"params": decay, "weight_decay": weight_decay},
                              {"params": plain, "weight_decay": 0.0}], lr=lr)


def cosine(step, total, warm=60):
    return step / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))


digits = load_digits()
imgs = torch.tensor(digits.images, dtype=torch.float32) / 16
imgs = (imgs - 0.305) / 0.376
labels = torch.tensor(digits.target)
tr, te = train_test_split(torch.arange(len(labels)).numpy(), test_size=0.25, stratify=digits.target, random_state=0)
tr, te = torch.from_numpy(tr), torch.from_numpy(te)

model = MiniViT()
epochs, bs = 20, 48
steps = epochs * math.ceil(len(tr) / bs)
optimizer = build_optimizer(model, 3e-3, 0.02)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: cosine(s, steps))

for ep in range(epochs):
    model.train()
    for idx in tr[torch.randperm(len(tr))].split(bs):
        loss = F.cross_entropy(model(imgs[idx]), labels[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        acc = (model(imgs[te]).argmax(1) == labels[te]).float().mean().item()
    if ep % 5 == 4:
        print(f"{ep + 1:3d} epochs: last batch loss {loss.item():.3f}, held-out accuracy {acc:.3f}")
print(f"accuracy={acc:.4f}")
