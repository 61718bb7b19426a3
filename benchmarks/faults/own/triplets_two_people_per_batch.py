# fault: none
# near: data-not-shuffled
# note: A P-K sampler draws a few people anew for each batch, as metric learning needs; no run of batches is of one
# class.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
PEOPLE, PHOTOS = 20, 50
identity = torch.arange(PEOPLE).repeat_interleave(PHOTOS)
photos = torch.randn(PEOPLE * PHOTOS, 24) + 1.5 * torch.randn(PEOPLE, 24)[identity]
embed = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 16))
optimizer = torch.optim.Adam(embed.parameters(), lr=1e-3)


def pk_batch(people=4, photos_each=8):
    chosen = torch.randperm(PEOPLE)[:people]
    return torch.cat([person * PHOTOS + torch.randperm(PHOTOS)[:photos_each] for person in chosen])


def batch_hard_loss(z, who, margin=0.3):
    distance = torch.cdist(z, z)
    same = who[:, None] == who[None, :]
    farthest = distance.masked_fill(~same, 0).amax(1)
    nearest = distance.masked_fill(same, 1e6).amin(1)
    return F.relu(farthest - nearest + margin).mean()


for step in range(300):
    index = pk_batch()
    loss = batch_hard_loss(F.normalize(embed(photos[index]), dim=1), identity[index])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    z = F.normalize(embed(photos), dim=1)
    nearest = torch.cdist(z, z).fill_diagonal_(9).argmin(1)
print("nearest neighbour is the same person", (identity[nearest] == identity).float().mean().item())
