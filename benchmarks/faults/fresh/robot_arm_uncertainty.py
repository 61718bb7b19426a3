# fault: exploding-gradient
# accept: loss-diverging, nan-or-inf
# note: The predicted standard deviation has no lower bound and the data are noise-free: sigma goes to 0 and the gradient norm grows from about 1 to several hundred, the loss climbs from -3 to +1.8 and the mean is wrecked. Tip error 1.32, repaired (0.3 + exp) .082.

"""Forward kinematics of a three-joint arm: predict the tip position together with an uncertainty."""
import argparse

import torch
from torch import nn


class ArmNet(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(6, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.mean = nn.Linear(width, 2)
        self.spread = nn.Linear(width, 2)

    def forward(self, angles):
        h = self.shared(torch.cat([angles.sin(), angles.cos()], 1))
        return self.mean(h), self.spread(h)


def tip(angles):
    total = angles.cumsum(1)
    lengths = torch.tensor([1.0, 0.8, 0.5])
    return torch.stack([(lengths * total.cos()).sum(1), (lengths * total.sin()).sum(1)], 1)


def gaussian_nll(mean, spread, target):
    sigma = spread.exp()
    return (sigma.log() + 0.5 * ((target - mean) / sigma) ** 2).sum(1).mean()


def tip_error(model, angles, target):
    model.eval()
    with torch.no_grad():
        return (model(angles)[0] - target).norm(dim=1).mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=25)
    ap.add_argument("--lr", type=float, default=0.002)
    a = ap.parse_args()
    torch.manual_seed(14)
    joint = (torch.rand(5000, 3) - 0.5) * 2.4
    xy = tip(joint)
    xy = (xy - xy[:4000].mean(0)) / xy[:4000].std(0)
    train, test = (joint[:4000], xy[:4000]), (joint[4000:], xy[4000:])

    model = ArmNet()
    opt = torch.optim.SGD(model.parameters(), lr=a.lr, momentum=0.9)
    for epoch in range(a.epochs):
        model.train()
        total = 0.0
        for idx in torch.randperm(4000).split(64):
            mean, spread = model(train[0][idx])
            loss = gaussian_nll(mean, spread, train[1][idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        print(f"epoch {epoch + 1:2d}  nll {total / 4000:.3f}  test tip error {tip_error(model, *test):.4f}")
    print("mean tip error (arm length 2.3, standardised units): %.4f" % tip_error(model, *test))


if __name__ == "__main__":
    main()
