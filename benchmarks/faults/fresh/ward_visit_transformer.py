# fault: batch-mixing
# note: nn.TransformerEncoderLayer is left at batch_first=False but gets (patients, visits, channels): attention runs over the patients of the batch instead of the visits of one patient. Test AUC 0.805 with the fault, 0.991 with batch_first=True.

"""Flag unusual visits: each patient has a personal baseline, a visit is unusual when it leaves that baseline."""
import argparse
from typing import NamedTuple

import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Batch(NamedTuple):
    vitals: torch.Tensor      # (patients, visits, channels)
    unusual: torch.Tensor     # (patients, visits)


class Ward(Dataset):
    def __init__(self, patients, visits=12, channels=4, seed=0):
        g = torch.Generator().manual_seed(seed)
        baseline = torch.randn(patients, 1, channels, generator=g)
        self.unusual = (torch.rand(patients, visits, generator=g) < 0.2).float()
        direction = torch.tensor([1.0, -1.0, 0.5, 0.0])
        x = baseline + 0.35 * torch.randn(patients, visits, channels, generator=g)
        x = x + 0.9 * self.unusual.unsqueeze(-1) * direction
        self.vitals = (x - x.mean((0, 1))) / x.std((0, 1))

    def __len__(self):
        return len(self.vitals)

    def __getitem__(self, i):
        return self.vitals[i], self.unusual[i]


def to_batch(rows):
    v, u = zip(*rows)
    return Batch(torch.stack(v), torch.stack(u))


class VisitFlagger(nn.Module):
    def __init__(self, channels=4, dim=32, heads=4, layers=2):
        super().__init__()
        self.inlet = nn.Linear(channels, dim)
        self.body = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(dim, heads, dim_feedforward=2 * dim, dropout=0.0),
            layers, enable_nested_tensor=False)
        self.outlet = nn.Linear(dim, 1)

    def forward(self, vitals):
        return self.outlet(self.body(self.inlet(vitals))).squeeze(-1)


@torch.no_grad()
def auc(model, loader):
    model.eval()
    scores, truth = [], []
    for batch in loader:
        scores.append(model(batch.vitals).flatten())
        truth.append(batch.unusual.flatten())
    return roc_auc_score(torch.cat(truth).numpy(), torch.cat(scores).numpy())


def main(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch-size", type=int, default=32)
    args = parser.parse_args(argv)

    torch.manual_seed(2024)
    train = DataLoader(Ward(2000, seed=1), args.batch_size, shuffle=True, collate_fn=to_batch)
    test = DataLoader(Ward(400, seed=2), 100, collate_fn=to_batch)
    model = VisitFlagger()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    total = args.epochs * len(train)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / 60) * max(0.02, 1 - s / total))
    criterion = nn.BCEWithLogitsLoss()

    for epoch in range(1, args.epochs + 1):
        model.train()
        seen = 0.0
        for batch in train:
            loss = criterion(model(batch.vitals), batch.unusual)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            seen += loss.item()
        print(f"epoch {epoch:2d}  loss {seen / len(train):.4f}  test AUC {auc(model, test):.3f}")
    print(f"test AUC {auc(model, test):.3f}")


if __name__ == "__main__":
    main()
