# fault: target-leakage
# note: A language model without a causal mask: each position sees the token that it must predict.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
VOCABULARY, LENGTH = 24, 16
transition = torch.softmax(2 * torch.randn(VOCABULARY, VOCABULARY), 1)


def chains(n):
    token = torch.randint(VOCABULARY, (n,))
    out = [token]
    for _ in range(LENGTH):
        token = torch.multinomial(transition[token], 1).squeeze(1)
        out.append(token)
    return torch.stack(out, 1)


class Gpt(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, ids):
        return self.head(self.blocks(self.token(ids) + self.position.weight))


model = Gpt()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(300):
    ids = chains(32)
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
entropy = -(transition * transition.log()).sum(1).mean()
print(f"loss {loss.item():.3f}, entropy of the source {entropy:.3f}")
