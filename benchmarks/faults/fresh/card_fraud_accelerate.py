# fault: none
# near: class-imbalance-collapse
# note: Test AUC 0.985, average precision 0.850, 8.6 % flagged at 5.5 % positives (root-weighted BCE). Accelerate skips step and zero_grad on the accumulating batches, so zero_grad inside the loop discards nothing.

"""Card fraud (about 4 % of the payments): embeddings + numbers, weighted BCE, gradient accumulation with Accelerate."""
import torch
from accelerate import Accelerator
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Payments(Dataset):
    def __init__(self, n, seed, stats=None):
        g = torch.Generator().manual_seed(seed)
        self.merchant = torch.randint(0, 60, (n,), generator=g)
        self.country = torch.randint(0, 12, (n,), generator=g)
        amount = torch.exp(3 + torch.randn(n, generator=g))
        hour = 24 * torch.rand(n, generator=g)
        gap = torch.exp(1.5 * torch.randn(n, generator=g))
        angle = hour / 24 * 2 * torch.pi
        numbers = torch.stack([amount.log(), gap.log(), angle.sin(), angle.cos()], dim=1)
        self.stats = stats or (numbers.mean(0), numbers.std(0))
        self.numbers = (numbers - self.stats[0]) / self.stats[1]
        risk = (-12.5 + 2.5 * (self.merchant % 7 == 0) + 3.0 * (self.country > 8) + 2.2 * self.numbers[:, 0]
                - 2.2 * self.numbers[:, 1] + 2.0 * angle.cos())
        self.fraud = (torch.rand(n, generator=g) < torch.sigmoid(1.6 * risk + 8)).float()

    def __len__(self):
        return len(self.fraud)

    def __getitem__(self, i):
        return {"merchant": self.merchant[i], "country": self.country[i],
                "numbers": self.numbers[i], "fraud": self.fraud[i]}


class FraudNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.merchant = nn.Embedding(60, 8)
        self.country = nn.Embedding(12, 4)
        self.mlp = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, batch):
        x = torch.cat([self.merchant(batch["merchant"]), self.country(batch["country"]), batch["numbers"]], dim=1)
        return self.mlp(x).squeeze(1)


def evaluate(model, loader):
    model.eval()
    scores, truth = [], []
    with torch.no_grad():
        for batch in loader:
            scores.append(torch.sigmoid(model(batch)))
            truth.append(batch["fraud"])
    scores, truth = torch.cat(scores).numpy(), torch.cat(truth).numpy()
    return roc_auc_score(truth, scores), average_precision_score(truth, scores), (scores > 0.5).mean()


def main():
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
    train_set = Payments(12000, seed=1)
    test_set = Payments(4000, seed=2, stats=train_set.stats)
    rate = train_set.fraud.mean().item()
    print(f"fraud rate {rate:.3f}")

    model = FraudNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=500)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(((1 - rate) / rate) ** 0.5))
    model, optimizer, train_loader, test_loader = accelerator.prepare(model, optimizer, train_loader, test_loader)

    for epoch in range(8):
        model.train()
        mean = 0.0
        for step, batch in enumerate(train_loader):
            with accelerator.accumulate(model):
                loss = criterion(model(batch), batch["fraud"])
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            mean += (loss.item() - mean) / (step + 1)
        auc, ap, flagged = evaluate(model, test_loader)
        print(f"epoch {epoch}: loss {mean:.4f}  AUC {auc:.3f}  AP {ap:.3f}  flagged {flagged:.3f}")
    print(f"test AUC {auc:.3f}, average precision {ap:.3f}")


if __name__ == "__main__":
    main()
