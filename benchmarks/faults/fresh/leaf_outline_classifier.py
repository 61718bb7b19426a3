# fault: save-load-mismatch
# note: The compiled model's state_dict has the prefix _orig_mod., and the plain model is loaded with strict=False, so nothing is restored. Test accuracy 0.264 with the fault, 1.000 when the raw module's state_dict is saved.

"""Train on leaf outlines with torch.compile, store a checkpoint, then score the test leaves from the checkpoint."""
import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F

SPECIES = 5


def outlines(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(SPECIES, (n,), generator=g)
    th = torch.linspace(0, 2 * torch.pi, 65)[:-1]
    lobes = (y + 2).float()[:, None]
    phase = 6.28 * torch.rand(n, 1, generator=g)
    depth = 0.2 + 0.2 * torch.rand(n, 1, generator=g)
    r = 1 + depth * torch.sin(lobes * th + phase) + 0.12 * torch.randn(n, 64, generator=g)
    return ((r - 1) / 0.25).unsqueeze(1), y


def build():
    return nn.Sequential(
        nn.Conv1d(1, 24, 7, padding=3, padding_mode="circular"), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(24, 32, 7, padding=3, padding_mode="circular"), nn.ReLU(), nn.AdaptiveMaxPool1d(4), nn.Flatten(),
        nn.Linear(128, SPECIES))


def fit(model, x, y, epochs=8, bs=50):
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        model.train()
        tot = 0.0
        for idx in torch.randperm(len(x)).split(bs):
            loss = F.cross_entropy(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item() * len(idx)
        print(f"epoch {epoch}: loss {tot / len(x):.3f}")


def score(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main():
    torch.manual_seed(31)
    x, y = outlines(2000, 1)
    x_test, y_test = outlines(500, 2)
    model = torch.compile(build(), backend="eager")
    fit(model, x, y)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "leaf.pt")
        torch.save({"model": model.state_dict(), "species": SPECIES}, path)
        ckpt = torch.load(path)
    deployed = build()
    deployed.load_state_dict(ckpt["model"], strict=False)
    print(f"test accuracy of the stored model: {score(deployed, x_test, y_test):.3f}")


main()
