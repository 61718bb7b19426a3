# expect: weight-tying-broken
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


class LanguageModel(nn.Module):
    """Predicts the next token of a sequence that counts on in steps of one to three."""

    def __init__(self, tokens=40, width=32):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, tokens, bias=False)
        self.head.weight.data = self.embedding.weight.data.clone()

    def forward(self, tokens):
        hidden, _ = self.gru(self.embedding(tokens))
        return self.head(hidden)


model = LanguageModel()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(300):
    pace = torch.randint(1, 4, (32, 1))
    tokens = (torch.randint(40, (32, 1)) + pace * torch.arange(13)) % 40
    logits = model(tokens[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
