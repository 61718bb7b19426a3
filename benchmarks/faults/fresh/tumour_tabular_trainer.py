# fault: step-without-backward
# accept: parameter-not-updated
# note: The branch without AMP (the one in use) has no loss.backward(): the optimizer steps with no gradient at all. Log-loss 0.642, AUC 0.779 (untrained net); with backward 0.147, 0.990.

import csv
import io
import sys

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


class TabularNet(nn.Module):
    def __init__(self, n_features, hidden=(32, 16), dropout=0.2):
        super().__init__()
        sizes = [n_features, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(sizes[-1], 1)

    def forward(self, x):
        for layer, norm in zip(self.layers, self.norms):
            x = self.dropout(nn.functional.silu(norm(layer(x))))
        return self.out(x).squeeze(-1)


class Trainer:
    def __init__(self, model, lr=1e-3, use_amp=False, log=sys.stdout):
        self.model = model
        self.use_amp = use_amp
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
        self.scaler = torch.amp.GradScaler("cpu", enabled=use_amp)
        self.loss = nn.BCEWithLogitsLoss()
        self.writer = csv.writer(log)
        self.writer.writerow(["epoch", "train_loss", "valid_loss", "valid_auc"])

    def train_step(self, x, y):
        self.model.train()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16, enabled=self.use_amp):
            loss = self.loss(self.model(x), y)
        if self.use_amp:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, x, y):
        self.model.eval()
        logits = self.model(x)
        return self.loss(logits, y).item(), roc_auc_score(y.numpy(), logits.numpy())

    def fit(self, train, valid, epochs, batch_size):
        x, y = train
        for epoch in range(epochs):
            order = torch.randperm(len(x))
            losses = [self.train_step(x[i], y[i]) for i in order.split(batch_size)]
            vloss, auc = self.evaluate(*valid)
            self.writer.writerow([epoch, f"{sum(losses) / len(losses):.4f}", f"{vloss:.4f}", f"{auc:.4f}"])


def main():
    torch.manual_seed(2024)
    data = load_breast_cancer()
    xtr, xva, ytr, yva = train_test_split(data.data, data.target, test_size=0.3, stratify=data.target, random_state=4)
    scaler = StandardScaler().fit(xtr)
    tensors = lambda a, b: (torch.tensor(scaler.transform(a), dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    trainer = Trainer(TabularNet(xtr.shape[1]), use_amp=False)
    trainer.fit(tensors(xtr, ytr), tensors(xva, yva), epochs=8, batch_size=16)
    loss, auc = trainer.evaluate(*tensors(xva, yva))
    print(f"validation: log-loss {loss:.4f}, AUC {auc:.4f}")


if __name__ == "__main__":
    main()
