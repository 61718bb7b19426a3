# fault: none
# near: unregistered-module
# note: A trained feature network sits in a list, out of sight on purpose: it only judges, and is not to be trained.
import torch
from torch import nn

torch.manual_seed(0)
features = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 8))
optimizer = torch.optim.Adam(features.parameters(), lr=3e-3)
mixing = torch.randn(16, 8) / 4
for step in range(150):
    x = torch.randn(64, 16)
    loss = nn.functional.mse_loss(features(x), torch.tanh(x @ mixing))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
features.requires_grad_(False)


class Denoiser(nn.Module):
    def __init__(self, judge):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16))
        self.judge = [judge]

    def loss(self, noisy, clean):
        out = noisy + self.net(noisy)
        return (self.judge[0](out) - self.judge[0](clean)).square().mean() + 0.1 * (out - clean).square().mean()


basis = torch.randn(3, 16)
denoiser = Denoiser(features)
optimizer = torch.optim.Adam(denoiser.parameters(), lr=3e-3)
losses = []
for step in range(300):
    clean = torch.randn(64, 3) @ basis / 2
    loss = denoiser.loss(clean + 0.5 * torch.randn_like(clean), clean)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print("first", losses[0], "last fifty", sum(losses[-50:]) / 50)
