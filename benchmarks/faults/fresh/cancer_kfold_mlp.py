# fault: none
# near: train-test-overlap
# note: AUC over folds 0.996. Every row is training row in four folds and validation row in one, always with a fresh model, optimizer and scaler fitted on the training part.

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def build_model():
    return nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 1))


def run_fold(Xtr, ytr, Xva, yva, epochs=15):
    scaler = StandardScaler().fit(Xtr)
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    ds = TensorDataset(to(scaler.transform(Xtr)), to(ytr)[:, None])
    Xva, yva_t = to(scaler.transform(Xva)), to(yva)[:, None]
    model = build_model()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    crit = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        model.train()
        for xb, yb in DataLoader(ds, batch_size=32, shuffle=True, drop_last=True):
            opt.zero_grad()
            loss = crit(model(xb), yb)
            loss.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        logits = model(Xva)
        return crit(logits, yva_t).item(), roc_auc_score(yva, logits.squeeze(1).numpy())


def main():
    torch.manual_seed(17)
    X, y = load_breast_cancer(return_X_y=True)
    aucs = []
    for k, (tr, va) in enumerate(StratifiedKFold(5, shuffle=True, random_state=17).split(X, y)):
        vloss, auc = run_fold(X[tr], y[tr], X[va], y[va])
        aucs.append(auc)
        print(f"fold {k}: val loss {vloss:.4f}  AUC {auc:.4f}")
    print(f"AUC over folds: {np.mean(aucs):.4f} +- {np.std(aucs):.4f}")


if __name__ == "__main__":
    main()
