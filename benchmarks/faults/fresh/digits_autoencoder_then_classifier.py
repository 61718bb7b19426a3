# fault: none
# near: parameter-not-updated
# note: final accuracy 0.956 (probe 0.918). The encoder is frozen on purpose in phase 2 and trained in phase 3; the decoder is done after phase 1; each phase has its own optimizer.

"""Three phases: denoising autoencoder, linear probe on the frozen encoder, full fine-tuning."""
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(5)
X, y = load_digits(return_X_y=True)
Xtr, Xte, ytr, yte = train_test_split(X / 16.0, y, test_size=0.25, stratify=y, random_state=5)
Xtr, Xte = torch.tensor(Xtr).float(), torch.tensor(Xte).float()
ytr, yte = torch.tensor(ytr), torch.tensor(yte)

encoder = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 24))
decoder = nn.Sequential(nn.Linear(24, 64), nn.GELU(), nn.Linear(64, 64), nn.Sigmoid())
probe = nn.Linear(24, 10)


def batches(n, size=48):
    return torch.randperm(n).split(size)


def test_accuracy():
    encoder.eval(), probe.eval()
    with torch.no_grad():
        return (probe(encoder(Xte)).argmax(1) == yte).float().mean().item()


# --- phase 1: reconstruct clean digits from noisy ones
opt = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
for epoch in range(20):
    encoder.train(), decoder.train()
    total = 0.0
    for idx in batches(len(Xtr)):
        noisy = (Xtr[idx] + 0.15 * torch.randn_like(Xtr[idx])).clamp(0, 1)
        rec = decoder(encoder(noisy))
        loss = (rec - Xtr[idx]).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(idx)
print(f"phase 1: reconstruction mse {total / len(Xtr):.4f} (pixel variance {Xtr.var(0).mean():.4f})")

# --- phase 2: linear probe, encoder frozen
encoder.requires_grad_(False)
opt = torch.optim.Adam(probe.parameters(), lr=1e-2)
for epoch in range(10):
    probe.train()
    for idx in batches(len(Xtr)):
        with torch.no_grad():
            code = encoder(Xtr[idx])
        loss = nn.functional.cross_entropy(probe(code), ytr[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
print(f"phase 2: probe accuracy {test_accuracy():.4f}")

# --- phase 3: unfreeze, gentler rate for the encoder
encoder.requires_grad_(True)
opt = torch.optim.Adam([
    {"params": encoder.parameters(), "lr": 2e-3},
    {"params": probe.parameters(), "lr": 5e-3},
])
for epoch in range(10):
    encoder.train(), probe.train()
    total = 0.0
    for idx in batches(len(Xtr)):
        loss = nn.functional.cross_entropy(probe(encoder(Xtr[idx])), ytr[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(idx)
print(f"phase 3: loss {total / len(Xtr):.4f}, accuracy {test_accuracy():.4f}")
