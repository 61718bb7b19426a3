# fault: none
# near: labels-misaligned
# note: Test AUC .684 where the true probabilities give .697: the task is mostly chance, the labels belong to their rows.

"""Click-through-rate model for banner placements: hashed categorical fields, wide & deep, log loss.

Clicks are mostly chance. The simulator knows the true click probability, so the AUC of a perfect
model is printed beside ours.
"""
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score

FIELDS = {"site": 40, "banner": 60, "device": 5, "hour": 24, "region": 18}


class ClickLog:
    def __init__(self, n, rng):
        self.fields = np.stack([rng.integers(0, k, n) for k in FIELDS.values()], axis=1)
        z = np.full(n, -0.1)
        for col, table in enumerate(TABLES):
            z += table[self.fields[:, col]]
        z += CROSS[self.fields[:, 2], self.fields[:, 4]]
        self.prob = 1 / (1 + np.exp(-z))
        self.click = (rng.random(n) < self.prob).astype(np.float32)

    def tensors(self):
        return torch.tensor(self.fields), torch.tensor(self.click)


effects = np.random.default_rng(77)
TABLES = [effects.normal(0, 0.32, k) for k in FIELDS.values()]
CROSS = effects.normal(0, 0.3, (5, 18))


class WideAndDeep(nn.Module):
    def __init__(self, dim=6):
        super().__init__()
        sizes = list(FIELDS.values())
        self.register_buffer("offset", torch.tensor([0] + sizes[:-1]).cumsum(0))
        self.wide = nn.Embedding(sum(sizes), 1)
        self.deep = nn.Embedding(sum(sizes), dim)
        nn.init.zeros_(self.wide.weight)
        nn.init.normal_(self.deep.weight, std=0.1)
        self.tower = nn.Sequential(nn.Linear(dim * len(sizes), 24), nn.GELU(), nn.Linear(24, 1))

    def forward(self, fields):
        ids = fields + self.offset
        return self.wide(ids).sum(1).squeeze(1) + self.tower(self.deep(ids).flatten(1)).squeeze(1)


def main():
    torch.manual_seed(77)
    train, test = ClickLog(24000, np.random.default_rng(1)), ClickLog(8000, np.random.default_rng(2))
    x, click = train.tensors()
    xt, _ = test.tensors()
    model = WideAndDeep()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(6):
        model.train()
        total = 0.0
        for idx in torch.randperm(len(x)).split(128):
            loss = criterion(model(x[idx]), click[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
        model.eval()
        with torch.no_grad():
            score = model(xt)
            test_ll = criterion(score, torch.tensor(test.click)).item()
        print(f"epoch {epoch}: log loss {total / len(x):.4f} test {test_ll:.4f}  AUC {roc_auc_score(test.click, score):.4f}")
    print(f"test AUC {roc_auc_score(test.click, score):.4f}; the true probabilities score {roc_auc_score(test.click, test.prob):.4f}")


if __name__ == "__main__":
    main()
