import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
tone = torch.randn(50)


def texts(count):
    """Texts of eight words out of fifty, and whether their words add up to a friendly tone."""
    words = torch.randint(50, (count, 8))
    return words, (tone[words].sum(1) > 0).long()


model = nn.Sequential(nn.EmbeddingBag(50, 16), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for step in range(300):
    x, y = texts(64)
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
