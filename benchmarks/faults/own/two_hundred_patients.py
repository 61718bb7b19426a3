# fault: overfitting
# note: A wide network on 200 noisy examples: the test loss doubles from its minimum while the training loss goes to 0,
# and the last weights are used.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rule = torch.randn(20, 4)


def patients(n):
    x = torch.randn(n, 20)
    return TensorDataset(x, (x @ rule + 3 * torch.randn(n, 4)).argmax(1))


train = DataLoader(patients(200), batch_size=16, shuffle=True)
test = DataLoader(patients(500), batch_size=100)
model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()


def evaluate(loader):
    model.eval()
    with torch.no_grad():
        return sum(criterion(model(x), y).item() for x, y in loader) / len(loader)


for epoch in range(25):
    model.train()
    for x, y in train:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    print(f"epoch {epoch}: train {evaluate(train):.3f}, test {evaluate(test):.3f}")
