"""An ordinary training loop with `diagnose.watch` put around it.

The three lines that were added are marked. Try `--lr 30` or `--lr 1e-6` to see findings.
"""

import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn

import diagnose


def load_data():
    data = load_breast_cancer()
    x_train, x_val, y_train, y_val = train_test_split(
        torch.tensor(data.data, dtype=torch.float32),
        torch.tensor(data.target, dtype=torch.float32),
        test_size=0.3,
        stratify=data.target,
        random_state=0,
    )
    mean, std = x_train.mean(dim=0), x_train.std(dim=0)
    return (x_train - mean) / std, y_train, (x_val - mean) / std, y_val


def error_rate(model, x, y):
    model.eval()
    with torch.no_grad():
        predicted = model(x).squeeze(1) > 0
    model.train()
    return (predicted != y.bool()).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--run-dir", help="where the run is stored; default: nowhere")
    args = parser.parse_args()

    torch.manual_seed(0)
    x_train, y_train, x_val, y_val = load_data()
    model = nn.Sequential(nn.Linear(30, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-3)

    with diagnose.watch(model, optimizer, run_dir=args.run_dir) as watch:  # added
        for epoch in range(1, args.epochs + 1):
            for rows in torch.randperm(len(x_train)).split(32):
                optimizer.zero_grad()
                logits = model(x_train[rows]).squeeze(1)
                loss = F.binary_cross_entropy_with_logits(logits, y_train[rows])
                loss.backward()
                optimizer.step()
                watch.step(loss=loss)  # added, optional
            val_error = error_rate(model, x_val, y_val)
            watch.log(val_error=val_error)  # added, optional
            print(f"epoch {epoch:2d}  last loss {loss.item():.4f}  val error {val_error:.3f}")

    print("findings:" if watch.findings else "nothing found")
    for finding in watch.findings:
        print(finding)


if __name__ == "__main__":
    main()
