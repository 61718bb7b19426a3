# expect: log-softmax-mismatch
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
centres = 2 * torch.randn(6, 2)


class Classifier(nn.Module):
    """Says which of six clouds a point belongs to."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(2, 32)
        self.output = nn.Linear(32, 6)

    def forward(self, points):
        return F.softmax(self.output(torch.tanh(self.hidden(points))), dim=1)


model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(300):
    labels = torch.randint(6, (64,))
    points = centres[labels] + 0.5 * torch.randn(64, 2)
    loss = F.nll_loss(model(points), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
