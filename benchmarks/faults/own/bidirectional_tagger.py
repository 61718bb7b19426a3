# fault: none
# near: target-leakage
# note: Tags, one per word and not shifted, from a bidirectional LSTM: both directions are allowed.
import torch
from torch import nn

torch.manual_seed(0)
WORDS, TAGS = 50, 4
base_tag = torch.randint(TAGS, (WORDS,))


def sentences(n, length=10):
    words = torch.randint(WORDS, (n, length))
    following = words.roll(-1, 1)
    following[:, -1] = 0
    return words, (base_tag[words] + (following >= 25)) % TAGS


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, 24)
        self.lstm = nn.LSTM(24, 32, batch_first=True, bidirectional=True)
        self.out = nn.Linear(64, TAGS)

    def forward(self, words):
        return self.out(self.lstm(self.embed(words))[0])


tagger = Tagger()
optimizer = torch.optim.Adam(tagger.parameters(), lr=1e-2)
for step in range(300):
    words, tags = sentences(48)
    loss = nn.functional.cross_entropy(tagger(words).transpose(1, 2), tags)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
words, tags = sentences(300)
print("accuracy", (tagger(words).argmax(2) == tags).float().mean().item())
