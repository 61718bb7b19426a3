# fault: none
# near: weight-tying-broken
# note: The head is tied to the embedding by sharing the parameter; two more heads, for tokens further ahead, start as
# copies of it and are meant to go their own way.
import torch
from torch import nn

torch.manual_seed(0)
VOCABULARY, AHEAD = 40, 2


class MultiStep(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, VOCABULARY, bias=False)
        self.out.weight = self.embed.weight
        self.later = nn.ModuleList(nn.Linear(width, VOCABULARY, bias=False) for _ in range(AHEAD))
        for head in self.later:
            head.weight.data.copy_(self.out.weight.data)

    def forward(self, ids):
        hidden, _ = self.gru(self.embed(ids))
        return [head(hidden) for head in (self.out, *self.later)]


model = MultiStep()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(250):
    ids = (torch.randint(VOCABULARY, (16, 1)) + torch.arange(14)) % VOCABULARY
    heads = model(ids[:, :10])
    losses = [nn.functional.cross_entropy(h.transpose(1, 2), ids[:, 1 + k:11 + k]) for k, h in enumerate(heads)]
    optimizer.zero_grad()
    sum(losses).backward()
    optimizer.step()
print("losses", [round(loss.item(), 3) for loss in losses])
