# fault: none
# near: double-softmax
# note: A softmax weighs the experts and cross_entropy takes another over the classes: two different things. A second
# model in the same file takes the logarithm of its mixture of probabilities before nll_loss.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
mixing = torch.randn(2, 12, 5)


def batch(n):
    x = torch.randn(n, 12)
    side = (x[:, 0] > 0).long()
    return x, torch.einsum("nd,ndk->nk", x, mixing[side]).argmax(1)


class Mixture(nn.Module):
    def __init__(self, of_logits, experts=3):
        super().__init__()
        self.of_logits = of_logits
        self.gate = nn.Linear(12, experts)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 5)) for _ in range(experts))

    def forward(self, x):
        weight = self.gate(x).softmax(1)[:, :, None]
        answers = torch.stack([expert(x) for expert in self.experts], 1)
        if self.of_logits:
            return (weight * answers).sum(1)
        return (weight * answers.softmax(2)).sum(1).add(1e-8).log()


for of_logits, criterion in ((True, F.cross_entropy), (False, F.nll_loss)):
    model = Mixture(of_logits)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(250):
        x, y = batch(64)
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = batch(2000)
    print("accuracy", (model(x).argmax(1) == y).float().mean().item())
