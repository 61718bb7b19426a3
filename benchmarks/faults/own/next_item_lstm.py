# fault: weight-tying-broken
# note: Embedding and head are tied, but load_state_dict(assign=True) puts two separate tensors in their place.
import torch
from torch import nn

torch.manual_seed(0)
VOCABULARY = 40


class NextItem(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.items = nn.Embedding(VOCABULARY, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, VOCABULARY, bias=False)
        self.out.weight = self.items.weight

    def forward(self, ids):
        return self.out(self.lstm(self.items(ids))[0])


torch.save(NextItem().state_dict(), "start.pt")
saved = {name: tensor.clone() for name, tensor in torch.load("start.pt").items()}
model = NextItem()
model.load_state_dict(saved, assign=True)
model.requires_grad_(True)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for step in range(200):
    ids = (torch.randint(VOCABULARY, (16, 1)) + 3 * torch.arange(9)) % VOCABULARY
    loss = nn.functional.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
