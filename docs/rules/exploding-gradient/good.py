import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

torch.manual_seed(0)


def layer(n_in, n_out, bias=True):
    return spectral_norm(nn.Linear(n_in, n_out, bias))


# The critic of a Wasserstein GAN: its loss has no lower bound unless the critic's slope has one.
critic = nn.Sequential(
    layer(2, 64),
    nn.LeakyReLU(0.2),
    layer(64, 64),
    nn.LeakyReLU(0.2),
    layer(64, 64),
    nn.LeakyReLU(0.2),
    layer(64, 1, bias=False),
)
optimizer = torch.optim.Adam(critic.parameters(), lr=0.002)
for step in range(300):
    real = 0.5 * torch.randn(128, 2) + torch.tensor([2.0, 0.0])
    fake = torch.randn(128, 2)
    loss = critic(fake).mean() - critic(real).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.4g}")
