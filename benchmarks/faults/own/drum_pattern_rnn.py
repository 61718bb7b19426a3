# fault: target-leakage
# note: The GRU that predicts the next beat is bidirectional, so its backward half has seen it.
import torch
from torch import nn

torch.manual_seed(1)


class BeatModel(nn.Module):
    def __init__(self, sounds=6, width=24):
        super().__init__()
        self.embed = nn.Embedding(sounds, 12)
        self.gru = nn.GRU(12, width, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * width, sounds)

    def forward(self, beats):
        return self.out(self.gru(self.embed(beats))[0])


patterns = torch.randint(6, (12, 8))
song = torch.cat([patterns[i] if torch.rand(()) < 0.7 else torch.randint(6, (8,)) for i in torch.randint(12, (400,))])
model = BeatModel()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(300):
    start = torch.randint(len(song) - 25, (24,)).tolist()
    chunk = torch.stack([song[s:s + 25] for s in start])
    inputs, targets = chunk[:, :-1], chunk[:, 1:]
    loss = nn.functional.cross_entropy(model(inputs).transpose(1, 2), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
