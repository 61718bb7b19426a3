# fault: none
# near: save-load-mismatch
# note: Accuracy .961 on the new classes. strict=False is checked: exactly the new head is missing; the best weights are kept by deepcopy.

"""Pre-train a digit encoder on the classes 0-5, write it to disk, load the encoder part into a new
model with another head and fine-tune on the classes 6-9."""
import copy
import os
import tempfile

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def get_split(classes, seed):
    X, y = load_digits(return_X_y=True)
    keep = (y >= classes[0]) & (y <= classes[-1])
    X, y = (X[keep] - 4.9) / 6.0, y[keep] - classes[0]
    a, b, c, d = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
    return (torch.tensor(a).float(), torch.tensor(c)), (torch.tensor(b).float(), torch.tensor(d))


class DigitModel(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 32), nn.GELU())
        self.head = nn.Linear(32, n_out)

    def forward(self, x):
        return self.head(self.encoder(x))


def fit(model, train, test, groups, epochs):
    """Returns the best weights seen (by held-out accuracy) and that accuracy."""
    opt = torch.optim.Adam(groups)
    best_acc, best = -1.0, None
    for epoch in range(epochs):
        model.train()
        for idx in torch.randperm(len(train[1])).split(32):
            loss = nn.functional.cross_entropy(model(train[0][idx]), train[1][idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc = (model(test[0]).argmax(1) == test[1]).float().mean().item()
        if acc > best_acc:
            best_acc, best = acc, copy.deepcopy(model.state_dict())
        print(f"  epoch {epoch}: loss {loss.item():.3f} acc {acc:.3f}")
    return best, best_acc


def main():
    torch.manual_seed(0)
    path = os.path.join(tempfile.mkdtemp(), "encoder.pt")

    print("pre-training on 0-5")
    source = DigitModel(6)
    weights, acc = fit(source, *get_split(range(0, 6), 0), [{"params": source.parameters(), "lr": 2e-3}], 10)
    torch.save({"weights": weights, "acc": acc}, path)

    print("fine-tuning on 6-9")
    stored = torch.load(path)["weights"]
    target = DigitModel(4)
    missing, unexpected = target.load_state_dict(
        {k: v for k, v in stored.items() if not k.startswith("head.")}, strict=False)
    assert sorted(missing) == ["head.bias", "head.weight"] and not unexpected
    train, test = get_split(range(6, 10), 1)
    best, _ = fit(target, train, test, [{"params": target.encoder.parameters(), "lr": 5e-4},
                                        {"params": target.head.parameters(), "lr": 3e-3}], 12)
    target.load_state_dict(best)
    target.eval()
    with torch.no_grad():
        acc = (target(test[0]).argmax(1) == test[1]).float().mean().item()
    print("accuracy on the new classes", round(acc, 3))


if __name__ == "__main__":
    main()
