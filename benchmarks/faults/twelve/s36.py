# fault: gradients-not-cleared
# accept: exploding-gradient, loss-diverging, dead-units, update-too-large
# note: zero_grad() is missing in the train helper (used for two data sets): loss in the hundreds, accuracy 10 %; with
# it 99 %.
"""Lesson 3: from linear models to small networks -- wine cultivar and digit recognition.

We reuse the same `train` helper for both data sets.
"""
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def to_tensors(X, y):
    return TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.long))


def prepare(loader_fn, seed):
    X, y = loader_fn(return_X_y=True)
    X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-2)
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
    return to_tensors(Xa, ya), to_tensors(Xb, yb)


def train(model, train_ds, val_ds, epochs, lr, batch_size=32):
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    train_dl = DataLoader(train_ds, batch_size=batch_size, shuffle=True)
    for epoch in range(epochs):
        # ---- one pass over the training data
        model.train()
        epoch_loss = 0
        for inputs, labels in train_dl:
            predictions = model(inputs)
            loss = loss_function(predictions, labels)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        # ---- how well do we do on unseen data?
        model.eval()
        with torch.no_grad():
            Xv, yv = val_ds.tensors
            accuracy = (model(Xv).argmax(dim=1) == yv).float().mean()
        if epoch % 2 == 1:
            print(f"  epoch {epoch + 1:3d}: loss {epoch_loss / len(train_dl):.4f}, accuracy {accuracy:.1%}")
    return model


if __name__ == "__main__":
    torch.manual_seed(7)
    print("wine")
    net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    train(net, *prepare(load_wine, 7), epochs=10, lr=0.02, batch_size=16)
    print("digits")
    net = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )
    train(net, *prepare(load_digits, 7), epochs=24, lr=0.02)
