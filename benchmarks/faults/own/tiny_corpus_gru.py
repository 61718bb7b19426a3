# fault: overfitting
# note: 1500 characters and a GRU of 256 units: the validation loss turns early and climbs to several times its minimum.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)
phrase = "the quick brown fox jumps over lazy dogs while seven wizards quietly mix potions and sing "
text = "".join(phrase[i:i + 7] for i in torch.randint(0, 80, (500,)).tolist())
alphabet = sorted(set(text))
ids = torch.tensor([alphabet.index(c) for c in text])
splits = {"train": ids[:1500], "val": ids[1500:]}


class CharModel(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.embed = nn.Embedding(len(alphabet), 64)
        self.gru = nn.GRU(64, width, batch_first=True)
        self.out = nn.Linear(width, len(alphabet))

    def forward(self, x, y):
        logits = self.out(self.gru(self.embed(x))[0])
        return logits, F.cross_entropy(logits.flatten(0, 1), y.flatten())


def batch(split, size=16, length=32):
    data = splits[split]
    starts = torch.randint(0, len(data) - length - 1, (size,)).tolist()
    return (torch.stack([data[s + k:s + k + length] for s in starts]) for k in (0, 1))


@torch.no_grad()
def estimate_loss(model):
    model.eval()
    means = {split: sum(model(*batch(split))[1].item() for _ in range(5)) / 5 for split in splits}
    model.train()
    return means


model = CharModel()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(400):
    if step % 25 == 0:
        print(step, estimate_loss(model))
    _, loss = model(*batch("train"))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
print("end", estimate_loss(model))
