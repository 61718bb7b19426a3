# fault: none
# near: train-test-overlap
# note: Cross validation with a new model per fold, and the training accuracy printed beside the test accuracy: every
# row is tested somewhere, never by a model that has seen it.
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(600, 8)
y = (x[:, 0] - x[:, 1] + 0.3 * torch.randn(600) > 0).long()
fold = torch.randperm(600) % 5


def accuracy(model, rows):
    model.eval()
    with torch.no_grad():
        return (model(x[rows]).argmax(1) == y[rows]).float().mean().item()


results = []
for k in range(5):
    train, test = (fold != k).nonzero().flatten(), (fold == k).nonzero().flatten()
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(6):
        model.train()
        for rows in train[torch.randperm(len(train))].split(24):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    results.append((accuracy(model, train), accuracy(model, test)))
print("mean train and test accuracy", [round(sum(column) / 5, 3) for column in zip(*results)])
