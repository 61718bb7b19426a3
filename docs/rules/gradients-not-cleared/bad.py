# expect: gradients-not-cleared
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


class Counter(nn.Module):
    """Says whether a sequence of 12 coin tosses has more heads than tails."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 16, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, tosses):
        _, last = self.gru(tosses.unsqueeze(2))
        return self.head(last[0]).squeeze(1)


model = Counter()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for step in range(300):
    tosses = torch.randint(2, (64, 12)).float() * 2 - 1
    labels = (tosses.sum(dim=1) > 0).float()
    loss = F.binary_cross_entropy_with_logits(model(tosses), labels)
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
