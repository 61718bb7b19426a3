# fault: none
# near: nan-or-inf
# note: Scores of padding are -inf before the softmax, and every sequence has at least one word, so nothing becomes NaN.
import torch
from torch import nn

torch.manual_seed(6)
VOCABULARY, LENGTH = 80, 14


class PooledReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 24, padding_idx=0)
        self.score = nn.Linear(24, 1)
        self.out = nn.Linear(24, 3)

    def forward(self, ids):
        words = self.embed(ids)
        score = self.score(torch.tanh(words)).squeeze(2).masked_fill(ids == 0, float("-inf"))
        return self.out((score.softmax(1).unsqueeze(2) * words).sum(1))


def sentences(n):
    topic = torch.randint(3, (n,))
    ids = torch.randint(20, VOCABULARY, (n, LENGTH))
    ids[:, 0] = 1 + 6 * topic + torch.randint(6, (n,))
    length = torch.randint(1, LENGTH + 1, (n, 1))
    return ids.masked_fill(torch.arange(LENGTH) >= length, 0), topic


model = PooledReader()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(300):
    ids, topic = sentences(64)
    loss = nn.functional.cross_entropy(model(ids), topic)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
ids, topic = sentences(1000)
print("accuracy", (model(ids).argmax(1) == topic).float().mean().item())
