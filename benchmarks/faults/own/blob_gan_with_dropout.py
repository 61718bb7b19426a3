# fault: none
# near: loss-not-decreasing
# note: A GAN whose losses go nowhere, as they should; batch norm in the generator, dropout in the discriminator, and
# samples drawn in between.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(8, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
d_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))


def blob(n):
    return torch.tensor([2.0, 1.0]) + torch.randn(n, 2) @ torch.tensor([[0.5, 0.3], [0.0, 0.4]])


for step in range(800):
    real, fake = blob(64), generator(torch.randn(64, 8))
    d_optimizer.zero_grad()
    d_loss = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
    d_loss.backward()
    d_optimizer.step()
    g_optimizer.zero_grad()
    g_loss = F.softplus(-critic(fake)).mean()
    g_loss.backward()
    g_optimizer.step()
generator.eval()
with torch.no_grad():
    fake, real = generator(torch.randn(4000, 8)), blob(4000)
print(f"losses {d_loss.item():.3f} {g_loss.item():.3f}")
print("means", fake.mean(0).tolist(), real.mean(0).tolist(), "covariances", fake.T.cov().tolist(), real.T.cov().tolist())
