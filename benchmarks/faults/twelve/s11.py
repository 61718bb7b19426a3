# fault: dead-units
# note: L1 weight far too strong in a sparse autoencoder: 65 % of the 256 ReLU codes never fire in the last fifth of
# training and 83 % are off for every training example at the end, explained variance 0.52; l1 0.05 gives 0.96.
"""Sparse over-complete dictionary for 8x8 digit images, object-oriented version."""
from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class SparseCoder(nn.Module):
    def __init__(self, n_in: int = 64, n_atoms: int = 256) -> None:
        super().__init__()
        self.encode = nn.Linear(n_in, n_atoms)
        self.decode = nn.Linear(n_atoms, n_in)
        with torch.no_grad():
            self.encode.weight.copy_(self.decode.weight.T)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = torch.relu(self.encode(x - self.decode.bias))
        return self.decode(code), code


class Experiment:
    def __init__(self, l1_weight: float = 4.0, seed: int = 5) -> None:
        torch.manual_seed(seed)
        self.l1_weight = l1_weight
        images, _ = load_digits(return_X_y=True)
        images = (images - images.mean(0)) / images.std()
        ds = TensorDataset(torch.tensor(images, dtype=torch.float32))
        self.train_ds, self.val_ds = random_split(ds, [1497, 300])
        self.model = SparseCoder()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)

    def objective(self, x: Tensor) -> Tensor:
        recon, code = self.model(x)
        mse = ((recon - x) ** 2).sum(-1).mean()
        sparsity = code.abs().sum(-1).mean()
        return mse + self.l1_weight * sparsity

    def run_epoch(self) -> float:
        self.model.train()
        losses = []
        for (xb,) in DataLoader(self.train_ds, batch_size=64, shuffle=True):
            loss = self.objective(xb)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    @torch.no_grad()
    def explained(self) -> float:
        self.model.eval()
        (xb,) = next(iter(DataLoader(self.val_ds, batch_size=len(self.val_ds))))
        recon, _ = self.model(xb)
        return (1 - ((recon - xb) ** 2).sum() / ((xb - xb.mean(0)) ** 2).sum()).item()

    def fit(self, epochs: int = 30) -> None:
        for ep in range(1, epochs + 1):
            tr = self.run_epoch()
            if ep % 3 == 0:
                print(f"epoch {ep:3d}  objective {tr:9.3f}  explained variance {self.explained():+.3f}")


if __name__ == "__main__":
    Experiment().fit()
