# fault: none
# near: target-leakage
# note: exact sums 1.000 on unseen pairs. Causal attention, the shift happens inside of the model (labels = input ids with the prompt set to -100), head tied by assignment, compiled and raw model are one; training to near-zero loss is right as the task is deterministic.

"""Character model over generated arithmetic; loss and label shift live inside of the model (HF style), compiled."""
from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F

CHARS = "0123456789+=;"
STOI = {c: i for i, c in enumerate(CHARS)}


@dataclass
class CausalOutput:
    logits: torch.Tensor
    loss: Optional[torch.Tensor] = None


class Layer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.o = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.ff = nn.Sequential(nn.Linear(d, 3 * d), nn.SiLU(), nn.Linear(3 * d, d))

    def forward(self, h):
        b, t, d = h.shape
        q, k, v = self.qkv(self.n1(h)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.o(a.transpose(1, 2).reshape(b, t, d))
        return h + self.ff(self.n2(h))


class TiedLM(nn.Module):
    def __init__(self, vocab, d=48, layers=2, heads=4, ctx=64):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(ctx, d)
        self.layers = nn.ModuleList(Layer(d, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(d)
        self.lm_head = nn.Linear(d, vocab, bias=False)
        nn.init.normal_(self.tok.weight, std=0.1)
        nn.init.normal_(self.pos.weight, std=0.1)
        self.lm_head.weight = self.tok.weight

    def forward(self, input_ids, labels=None):
        h = self.tok(input_ids) + self.pos.weight[: input_ids.size(1)]
        for layer in self.layers:
            h = layer(h)
        logits = self.lm_head(self.norm(h))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return CausalOutput(logits, loss)


def problems(pairs):
    rows, labels = [], []
    for a, b in pairs.tolist():
        total = f"{(a + b) % 100:02d}"
        s = f"{a:02d}+{b:02d}={total[::-1]};"  # units first, so the carry is easy
        ids = [STOI[c] for c in s]
        rows.append(ids)
        labels.append([-100] * 6 + ids[6:])
    return torch.tensor(rows), torch.tensor(labels)


torch.manual_seed(6)
grid = torch.cartesian_prod(torch.arange(100), torch.arange(100))
grid = grid[torch.randperm(len(grid))]
train_ids, train_labels = problems(grid[:8000])
test_ids, test_labels = problems(grid[8000:8600])

model = TiedLM(len(CHARS))
compiled = torch.compile(model, backend="eager")
opt = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
EPOCHS = 8
sched = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, total_steps=EPOCHS * 80)
for epoch in range(EPOCHS):
    compiled.train()
    tot = 0.0
    for idx in torch.randperm(8000).split(100):
        out = compiled(train_ids[idx], labels=train_labels[idx])
        opt.zero_grad()
        out.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        opt.step()
        sched.step()
        tot += out.loss.item()
    compiled.eval()
    with torch.no_grad():
        lg = compiled(test_ids).logits[:, 5:-1].argmax(-1)
        exact = (lg == test_ids[:, 6:]).all(1).float().mean().item()
    print(f"epoch {epoch}: loss {tot / 80:.4f}  exact sums {exact:.4f}")
