# fault: saturated-units
# note: nn.init.normal_ with its default std of 1 on both tanh layers: preactivation std 4 and 10, 59 % and 84 % of the activations beyond 0.97, throughout. Held-out mse 0.615 with the fault, 0.0078 with Xavier.

"""Forward kinematics of a planar three-joint arm, learned from random joint angles."""
import math

import torch
from torch import nn, optim


class ArmNet(nn.Module):
    def __init__(self, n_in, n_hidden=120, n_out=2):
        super().__init__()
        self.layer1 = nn.Linear(n_in, n_hidden)
        self.layer2 = nn.Linear(n_hidden, n_hidden)
        self.readout = nn.Linear(n_hidden, n_out)
        for layer in (self.layer1, self.layer2):
            nn.init.normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, q):
        z = torch.tanh(self.layer1(q))
        z = torch.tanh(self.layer2(z))
        return self.readout(z)


def sample_arm(n, seed):
    g = torch.Generator().manual_seed(seed)
    q = (2 * torch.rand(n, 3, generator=g) - 1) * math.pi / 2
    other_sensors = torch.randn(n, 13, generator=g)
    abs_angle = torch.cumsum(q, 1)
    links = torch.tensor([1.0, 0.8, 0.5])
    pos = torch.stack([(links * abs_angle.cos()).sum(1), (links * abs_angle.sin()).sum(1)], 1)
    return torch.cat([q / 0.907, other_sensors], 1), pos


def main():
    torch.manual_seed(77)
    x, p = sample_arm(4000, 1)
    xt, pt = sample_arm(1000, 2)
    m, s = p.mean(0), p.std(0)
    p, pt = (p - m) / s, (pt - m) / s
    net = ArmNet(x.shape[1])
    opt = optim.Adam(net.parameters(), lr=1e-3)
    sched = optim.lr_scheduler.CosineAnnealingLR(opt, T_max=20, eta_min=1e-4)
    for epoch in range(20):
        net.train()
        epoch_loss = 0
        for idx in torch.randperm(len(x)).split(50):
            opt.zero_grad()
            loss = nn.functional.mse_loss(net(x[idx]), p[idx])
            loss.backward()
            opt.step()
            epoch_loss += loss.item() * len(idx) / len(x)
        sched.step()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1:2d} mse {epoch_loss:.4f}")
    net.eval()
    with torch.inference_mode():
        err = nn.functional.mse_loss(net(xt), pt).item()
    print(f"held-out mse (targets have variance 1): {err:.4f}")


if __name__ == "__main__":
    main()
