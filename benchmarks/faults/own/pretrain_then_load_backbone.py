# fault: none
# near: save-load-mismatch
# note: strict=False on purpose: the backbone's weights are found, the old head's are left out; the checkpoint is
# written to a file and read again.
import torch
from torch import nn

torch.manual_seed(0)
mixing = torch.randn(12, 10)


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(12, 48), nn.BatchNorm1d(48), nn.ReLU())
        self.head = nn.Linear(48, classes)

    def forward(self, x):
        return self.head(self.backbone(x))


def train(model, classes, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        x = torch.randn(64, 12)
        loss = nn.functional.cross_entropy(model(x), (x @ mixing[:, :classes]).argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


big = Net(10)
print("pre-training", train(big, 10, 250))
torch.save({name: value for name, value in big.state_dict().items() if name.startswith("backbone.")}, "backbone.pt")
small = Net(3)
missing, unexpected = small.load_state_dict(torch.load("backbone.pt"), strict=False)
print("left to initialise", missing)
print("fine-tuning", train(small, 3, 150))
