# fault: dropout-too-high
# note: TF1's keep_prob 0.85 is passed to nn.Dropout as the drop probability. eval accuracy 0.864 (train loss 1.55); Dropout(0.15) 0.975 (0.07).

"""PyTorch port of our old TensorFlow 1 classifier (hparams kept as they were)."""
import argparse
import json

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

HPARAMS = {
    "hidden_units": [96, 48],
    "keep_prob": 0.85,
    "learning_rate": 0.002,
    "batch_size": 32,
    "num_epochs": 12,
}


class DNNClassifier(nn.Module):
    def __init__(self, feature_dim, n_classes, hidden_units, keep_prob):
        super().__init__()
        self.hidden = nn.ModuleList()
        for units in hidden_units:
            self.hidden.append(nn.Linear(feature_dim, units))
            feature_dim = units
        self.dropout = nn.Dropout(keep_prob)
        self.logits = nn.Linear(feature_dim, n_classes)

    def forward(self, features):
        net = features
        for layer in self.hidden:
            net = self.dropout(torch.relu(layer(net)))
        return self.logits(net)


def input_fn(x, y, batch_size, training):
    ds = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    return DataLoader(ds, batch_size=batch_size, shuffle=training, drop_last=False)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--hparams", type=json.loads, default={})
    hp = {**HPARAMS, **ap.parse_args().hparams}
    torch.manual_seed(42)
    x, y = load_digits(return_X_y=True)
    x = (x - 4.9) / 6.0
    x_train, x_eval, y_train, y_eval = train_test_split(x, y, test_size=0.2, random_state=42, stratify=y)
    estimator = DNNClassifier(x.shape[1], 10, hp["hidden_units"], hp["keep_prob"])
    train_op = torch.optim.Adam(estimator.parameters(), lr=hp["learning_rate"])
    xent = nn.CrossEntropyLoss()

    for epoch in range(1, hp["num_epochs"] + 1):
        estimator.train()
        seen, cum = 0, 0.0
        for features, labels in input_fn(x_train, y_train, hp["batch_size"], True):
            loss = xent(estimator(features), labels)
            train_op.zero_grad()
            loss.backward()
            train_op.step()
            seen += len(labels)
            cum += loss.item() * len(labels)
        estimator.eval()
        with torch.no_grad():
            hits = sum((estimator(f).argmax(1) == l).sum().item() for f, l in input_fn(x_eval, y_eval, 128, False))
        print(json.dumps({"epoch": epoch, "loss": round(cum / seen, 4), "eval_accuracy": round(hits / len(y_eval), 4)}))
    print("eval_accuracy =", round(hits / len(y_eval), 4))


if __name__ == "__main__":
    main()
