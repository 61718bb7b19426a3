# fault: save-load-mismatch
# note: The checkpoint's names begin with "module." and strict=False drops all of them without a word: training goes on
# from scratch.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(1000, 9)
y = (x[:, 0] * x[:, 1] > 0).long()
loader = DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)


def network():
    return nn.Sequential(nn.Linear(9, 32), nn.ReLU(), nn.Linear(32, 2))


def train(model, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(rows), labels)
            loss.backward()
            optimizer.step()
    return loss.item()


print("first job", train(nn.DataParallel(parallel := network()), 5))
torch.save(nn.DataParallel(parallel).state_dict(), "checkpoint.pt")
model = network()
model.load_state_dict(torch.load("checkpoint.pt"), strict=False)
print("second job", train(model, 2))
