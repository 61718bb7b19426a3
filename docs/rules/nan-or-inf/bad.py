# expect: nan-or-inf
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# Find places for 1,000 towns from the distances between them.
towns = torch.randn(1000, 2)
places = nn.Embedding(1000, 2)
optimizer = torch.optim.Adam(places.parameters(), lr=0.05)
for step in range(800):
    a, b = torch.randint(1000, (2, 128))
    wanted = (towns[a] - towns[b]).norm(dim=1)
    distance = (places(a) - places(b)).pow(2).sum(dim=1).sqrt()
    loss = F.mse_loss(distance, wanted)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 99:
        print(f"step {step + 1}  loss {loss.item():.4f}")
