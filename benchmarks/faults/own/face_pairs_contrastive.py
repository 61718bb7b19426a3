# fault: loss-diverging
# accept: exploding-gradient, update-too-large
# note: Different faces are pushed apart without a margin, so the loss falls without bound while embeddings blow up; a
# margin on the distance mends it.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
PEOPLE = 12
faces = torch.randn(PEOPLE, 20)
net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 8))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for step in range(500):
    who = torch.randint(PEOPLE, (2, 64))
    who[1, :32] = who[0, :32]
    first, second = (net(faces[w] + 0.5 * torch.randn(64, 20)) for w in who)
    distance = (first - second).pow(2).sum(1)
    same = (who[0] == who[1]).float()
    loss = (same * distance - (1 - same) * distance).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(step, loss.item())
print("loss", loss.item())
