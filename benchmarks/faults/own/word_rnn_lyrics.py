# fault: clip-after-step
# note: clip_grad_norm_ is called after optimizer.step(), where it changes nothing that is used: zero_grad follows.
import torch
from torch import nn

torch.manual_seed(0)
words = "row your boat gently down the stream merrily life is but a dream".split()
vocabulary = {word: i for i, word in enumerate(words)}
line = "row row row your boat gently down the stream merrily merrily merrily merrily life is but a dream".split()
text = torch.tensor([vocabulary[w] for w in line * 40])


class WordModel(nn.Module):
    def __init__(self, size, width=32):
        super().__init__()
        self.embed = nn.Embedding(size, width)
        self.rnn = nn.RNN(width, width, batch_first=True)
        self.decode = nn.Linear(width, size)

    def forward(self, ids):
        return self.decode(self.rnn(self.embed(ids))[0])


model = WordModel(len(vocabulary))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for step in range(200):
    start = torch.randint(len(text) - 21, (16,))
    chunk = torch.stack([text[s:s + 21] for s in start])
    loss = nn.functional.cross_entropy(model(chunk[:, :-1]).flatten(0, 1), chunk[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
print("perplexity", loss.exp().item())
