# fault: frozen-in-train
# note: from_pretrained returns the model in eval mode, as libraries do, and the loop never calls train(): fine-tuning
# of all layers goes without dropout.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(60, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.2, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    @classmethod
    def from_pretrained(cls):
        model = cls()
        return model.eval()

    def forward(self, input_ids, labels=None):
        logits = self.head(self.layers(self.embed(input_ids)).mean(1))
        return {"loss": None if labels is None else F.cross_entropy(logits, labels), "logits": logits}


model = Encoder.from_pretrained()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range(150):
    input_ids = torch.randint(60, (16, 12))
    labels = (input_ids < 20).sum(1).gt(4).long()
    output = model(input_ids, labels)
    output["loss"].backward()
    optimizer.step()
    optimizer.zero_grad()
print("loss", output["loss"].item())
