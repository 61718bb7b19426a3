# fault: none
# near: log-softmax-mismatch
# note: student accuracy 0.957, teachers (frozen, eval mode) trained side by side with one optimizer each. kl_div gets log-softmax and probabilities as it wants; the loss has an entropy floor.

"""Three teachers trained side by side, each with its own optimizer; then a small student learns from their average."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(14)
X, y = load_digits(return_X_y=True)
Xa, Xb, ya, yb = train_test_split((X - 4.9) / 6.0, y, test_size=0.3, random_state=14, stratify=y)
train_loader = DataLoader(TensorDataset(torch.tensor(Xa).float(), torch.tensor(ya)), batch_size=32, shuffle=True)
Xb, yb = torch.tensor(Xb).float(), torch.tensor(yb)


class Teacher(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.net = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, ch, 3, padding=1), nn.ReLU(), nn.Conv2d(ch, ch, 3, padding=1),
            nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25), nn.Linear(16 * ch, 10))

    def forward(self, x):
        return self.net(x)


def score(predict):
    with torch.no_grad():
        return (predict(Xb).argmax(1) == yb).float().mean().item()


teachers = [Teacher(c) for c in (8, 12, 16)]
opts = [torch.optim.Adam(t.parameters(), lr=2e-3) for t in teachers]
for epoch in range(8):
    for t in teachers:
        t.train()
    for x, target in train_loader:
        for t, o in zip(teachers, opts):
            o.zero_grad()
            F.cross_entropy(t(x), target).backward()
            o.step()
for t in teachers:
    t.eval()
    t.requires_grad_(False)
print("teachers", [round(score(t), 4) for t in teachers])

T, alpha = 3.0, 0.7
student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
opt = torch.optim.Adam(student.parameters(), lr=4e-3)
for epoch in range(20):
    student.train()
    run = 0.0
    for x, target in train_loader:
        with torch.no_grad():
            soft = torch.stack([F.softmax(t(x) / T, dim=1) for t in teachers]).mean(0)
        logits = student(x)
        kd = F.kl_div(F.log_softmax(logits / T, dim=1), soft, reduction="batchmean") * T * T
        loss = alpha * kd + (1 - alpha) * F.cross_entropy(logits, target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run += loss.item()
    if epoch % 5 == 4:
        student.eval()
        print(f"student epoch {epoch + 1}: loss {run / len(train_loader):.4f} accuracy {score(student):.4f}")
