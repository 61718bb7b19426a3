# fault: unregistered-module
# accept: parameter-not-updated
# note: The embeddings live in a plain dict, so net.parameters() does not hold them and they stay random. Test R2 0.231 with the fault, 0.970 with nn.ModuleDict.

"""Predict (log) rents from categorical listing data with entity embeddings."""
import numpy as np
import pandas as pd
import torch
import torch.nn as nn
import torch.nn.functional as F

CARDS = {"district": 150, "landlord": 120, "building": 100}
DIM = 3


def listings(n, seed):
    world = np.random.default_rng(0)
    eff = {c: world.normal(0, s, k) for (c, k), s in zip(CARDS.items(), (0.5, 0.35, 0.35))}
    r = np.random.default_rng(seed)
    df = pd.DataFrame({c: r.integers(0, k, n) for c, k in CARDS.items()})
    df["area"] = r.normal(0, 1, n)
    df["rooms"] = r.normal(0, 1, n)
    logrent = sum(eff[c][df[c]] for c in CARDS) + 0.3 * df["area"] + 0.15 * df["rooms"] + r.normal(0, 0.1, n)
    df["y"] = logrent
    return df


class RentNet(nn.Module):
    def __init__(self, cards, n_num, dim=DIM, hidden=48):
        super().__init__()
        self.embeds = {name: nn.Embedding(k, dim) for name, k in cards.items()}
        self.fc1 = nn.Linear(dim * len(cards) + n_num, hidden)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, cats, nums):
        parts = [self.embeds[name](ids) for name, ids in cats.items()]
        h = F.gelu(self.fc1(torch.cat(parts + [nums], 1)))
        return self.fc2(h).squeeze(1)


def tensors(df, mean, std):
    cats = {c: torch.tensor(df[c].values) for c in CARDS}
    nums = torch.tensor(df[["area", "rooms"]].values, dtype=torch.float32)
    y = torch.tensor(((df["y"] - mean) / std).values, dtype=torch.float32)
    return cats, nums, y


def take(batch, idx):
    cats, nums, y = batch
    return {k: v[idx] for k, v in cats.items()}, nums[idx], y[idx]


def main():
    torch.manual_seed(0)
    train_df, test_df = listings(8000, 1), listings(2000, 2)
    m, s = train_df["y"].mean(), train_df["y"].std()
    train, test = tensors(train_df, m, s), tensors(test_df, m, s)
    net = RentNet(CARDS, 2)
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    history = []
    for epoch in range(8):
        net.train()
        for idx in torch.randperm(8000).split(128):
            cats, nums, y = take(train, idx)
            loss = F.mse_loss(net(cats, nums), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            history.append({"epoch": epoch, "train": loss.item(), "test": F.mse_loss(net(*test[:2]), test[2]).item()})
    print(pd.DataFrame(history).to_string(index=False))
    print(f"test R2 {1 - history[-1]['test'] / test[2].var().item():.3f}")


main()
