# fault: unregistered-module
# accept: parameter-not-updated
# note: the blocks are kept in a plain Python list, so only the head is registered and trained; R2 0.490, with nn.ModuleList 0.963.

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_friedman1
from sklearn.metrics import r2_score


class ResidualBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, h):
        return h + self.fc2(torch.relu(self.fc1(self.norm(h))))


class TabularResNet(nn.Module):
    def __init__(self, n_in, width=24, depth=3):
        super().__init__()
        self.blocks = [nn.Sequential(nn.Linear(n_in, width), nn.ReLU())]
        for _ in range(depth):
            self.blocks.append(ResidualBlock(width))
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x).squeeze(-1)


def main():
    torch.manual_seed(1)
    X, y = make_friedman1(n_samples=2400, n_features=10, noise=0.4, random_state=1)
    X = (X - 0.5) * np.sqrt(12)
    y = (y - y[:1800].mean()) / y[:1800].std()
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    Xtr, ytr, Xva, yva = X[:1800], y[:1800], X[1800:], y[1800:]

    net = TabularResNet(10)
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    for epoch in range(15):
        net.train()
        losses = []
        for idx in torch.randperm(len(Xtr)).split(50):
            opt.zero_grad()
            loss = nn.functional.mse_loss(net(Xtr[idx]), ytr[idx])
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            r2 = r2_score(yva.numpy(), net(Xva).numpy())
        print(f"epoch {epoch + 1:>2} | mse {np.mean(losses):.4f} | val R2 {r2:.4f}")
    print(f"R2 on held-out rows: {r2:.4f}")


main()
