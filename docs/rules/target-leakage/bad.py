# expect: target-leakage
import torch
from torch import nn

TEXT = "the quick brown fox jumps over the lazy dog and runs away from the bear. " * 40
letters = sorted(set(TEXT))
data = torch.tensor([letters.index(c) for c in TEXT])


class Model(nn.Module):
    def __init__(self, length: int = 32, width: int = 32) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(len(letters), width), nn.Embedding(length, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, len(letters))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        q, k, v = self.qkv(h).chunk(3, dim=-1)
        return self.out(h + nn.functional.scaled_dot_product_attention(q, k, v, is_causal=False))


torch.manual_seed(0)
model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for _ in range(150):
    starts = torch.randint(len(data) - 33, (16,))
    windows = torch.stack([data[s : s + 33] for s in starts])
    logits = model(windows[:, :-1])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
