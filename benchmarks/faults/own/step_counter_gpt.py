# fault: train-mode-in-eval
# note: estimate_loss() never calls eval(), so both figures are measured with the dropout of 0.2 active.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
VOCABULARY, LENGTH = 30, 16


class Gpt(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, width), nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.2, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, VOCABULARY)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, ids, targets=None):
        logits = self.head(self.blocks(self.token(ids) + self.position.weight, mask=self.mask))
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


steps = torch.randint(1, 4, (6000,))
data = steps.cumsum(0) % VOCABULARY
splits = {"train": data[:5000], "val": data[5000:]}


def get_batch(split, size=16):
    start = torch.randint(len(splits[split]) - LENGTH - 1, (size,)).tolist()
    return [torch.stack([splits[split][s + k:s + k + LENGTH] for s in start]) for k in (0, 1)]


@torch.no_grad()
def estimate_loss(model):
    return {split: sum(model(*get_batch(split))[1].item() for _ in range(5)) / 5 for split in splits}


model = Gpt()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
for step in range(200):
    if step % 40 == 0:
        print(step, estimate_loss(model))
    _, loss = model(*get_batch("train"))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
print("end", estimate_loss(model))
