# fault: frozen-in-train
# note: validate() switches to eval mode and nothing switches back: from the second epoch on the dropout is off and the
# batch statistics stand still.
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
prototypes = torch.randn(4, 1, 12, 12)


def pictures(n):
    y = torch.randint(4, (n,))
    return TensorDataset(prototypes[y] + 1.5 * torch.randn(n, 1, 12, 12), y)


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 3, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(12 * 25, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.fc(self.drop(x.flatten(1)))


class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        self.train_loader = DataLoader(pictures(800), batch_size=32, shuffle=True)
        self.valid_loader = DataLoader(pictures(200), batch_size=50)

    def fit(self, epochs):
        self.model.train()
        for epoch in range(epochs):
            for x, y in self.train_loader:
                self.optimizer.zero_grad()
                F.cross_entropy(self.model(x), y).backward()
                self.optimizer.step()
            print(f"epoch {epoch}: accuracy {self.validate():.3f}")

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        right = sum((self.model(x).argmax(1) == y).sum().item() for x, y in self.valid_loader)
        return right / len(self.valid_loader.dataset)


Trainer(SmallNet()).fit(6)
