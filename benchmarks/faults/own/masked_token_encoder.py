# fault: none
# near: target-leakage
# note: A bidirectional encoder that fills in masked tokens: it may look both ways, and what it must predict is hidden.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
VOCABULARY, LENGTH, MASK = 20, 12, 20


class MaskedEncoder(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY + 1, width), nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, ids):
        return self.head(self.encoder(self.token(ids) + self.position.weight))


model = MaskedEncoder()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(350):
    ids = (torch.randint(VOCABULARY, (32, 1)) + torch.arange(LENGTH) * torch.randint(1, 3, (32, 1))) % VOCABULARY
    hidden = torch.rand(ids.shape) < 0.2
    labels = ids.masked_fill(~hidden, -100)
    logits = model(ids.masked_fill(hidden, MASK))
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
