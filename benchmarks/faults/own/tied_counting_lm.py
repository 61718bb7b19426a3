# fault: weight-tying-broken
# note: The head gets a detached copy of the embedding as a parameter of its own, so the two part at the first step.
import torch
from torch import nn

torch.manual_seed(0)
VOCABULARY = 50


class CountingModel(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, VOCABULARY, bias=False)
        self.out.weight = nn.Parameter(self.embed.weight.detach().clone())

    def forward(self, ids):
        return self.out(self.gru(self.embed(ids))[0])


model = CountingModel()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
for step in range(200):
    ids = (torch.randint(VOCABULARY, (16, 1)) + torch.arange(11)) % VOCABULARY
    loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
print("loss", loss.item())
