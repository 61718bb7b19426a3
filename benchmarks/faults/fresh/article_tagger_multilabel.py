# fault: double-sigmoid
# note: forward ends in a sigmoid and the loss is BCEWithLogitsLoss, which applies another; micro-F1 0.697 with bce stuck at 0.657, with BCELoss 0.790 and 0.154.

"""Assign several tags to an article from its bag of words."""
import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

N_TAGS = 12
torch.manual_seed(21)


class Tagger(nn.Module):
    def __init__(self, vocab, n_tags):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(vocab, 64), nn.ReLU(), nn.Dropout(0.1))
        self.tags = nn.Linear(64, n_tags)

    def forward(self, counts):
        h = self.body(counts)
        return torch.sigmoid(self.tags(h))


def get_data():
    X, Y = make_multilabel_classification(
        n_samples=3000, n_features=80, n_classes=N_TAGS, n_labels=2, length=150, allow_unlabeled=False, random_state=5)
    X = torch.log1p(torch.tensor(X, dtype=torch.float32))
    X = (X - X.mean(0)) / (X.std(0) + 1e-6)
    ds = TensorDataset(X, torch.tensor(Y, dtype=torch.float32))
    return random_split(ds, [2400, 600])


def micro_f1(model, loader):
    model.eval()
    P, T = [], []
    with torch.no_grad():
        for x, t in loader:
            P.append(model(x) > 0.5)
            T.append(t)
    return f1_score(torch.cat(T).numpy(), torch.cat(P).numpy(), average="micro")


train_set, test_set = get_data()
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)

model = Tagger(80, N_TAGS)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(10):
    model.train()
    seen, acc = 0, 0.0
    for x, t in train_loader:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), t)
        loss.backward()
        optimizer.step()
        acc += loss.item() * len(x)
        seen += len(x)
    print(f"epoch {epoch}: bce {acc / seen:.4f}, micro-F1 {micro_f1(model, test_loader):.4f}")
print("test micro-F1:", round(micro_f1(model, test_loader), 4))
