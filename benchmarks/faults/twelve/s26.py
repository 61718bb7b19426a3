# fault: update-too-large
# accept: loss-not-decreasing
# note: OneCycleLR with max_lr 0.5 overrides lr 1e-3 on a transformer with AdamW: loss goes up to 3.5 and ends at the
# uniform/unigram level 2.47; max_lr 5e-3 reaches 1.83.
"""Tiny causal transformer on sequences from a second-order Markov source."""
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
torch.set_num_threads(1)

K, T, D, HEADS, LAYERS = 12, 24, 48, 4, 2
STEPS, BATCH = 400, 32

gen = torch.Generator().manual_seed(5)
table = torch.softmax(2.0 * torch.randn(K, K, K, generator=gen), -1)


def sample(n):
    seq = torch.randint(0, K, (n, T + 1), generator=gen)
    for t in range(2, T + 1):
        probs = table[seq[:, t - 2], seq[:, t - 1]]
        seq[:, t] = torch.multinomial(probs, 1, generator=gen).squeeze(1)
    return seq[:, :-1], seq[:, 1:]


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(K, D)
        self.pos = nn.Parameter(0.02 * torch.randn(T, D))
        layer = nn.TransformerEncoderLayer(D, HEADS, 2 * D, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.ln = nn.LayerNorm(D)
        self.lm_head = nn.Linear(D, K, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(T))

    def forward(self, idx):
        x = self.tok(idx) + self.pos
        x = self.blocks(x, mask=self.mask, is_causal=True)
        return self.lm_head(self.ln(x))


# entropy of the source, as a reference
ref_x, ref_y = sample(500)
p = table[ref_x[:, :-1], ref_x[:, 1:]]
print("source entropy about", -(p * p.log()).sum(-1).mean().item())

model = GPT()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=STEPS, pct_start=0.1)

running = None
for step in range(1, STEPS + 1):
    xb, yb = sample(BATCH)
    logits = model(xb)
    loss = F.cross_entropy(logits.reshape(-1, K), yb.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
    if step % 40 == 0:
        print(f"{step:4d}  loss {running:.4f}")

model.eval()
with torch.no_grad():
    val = F.cross_entropy(model(ref_x).reshape(-1, K), ref_y.reshape(-1)).item()
print("held-out loss", val)
