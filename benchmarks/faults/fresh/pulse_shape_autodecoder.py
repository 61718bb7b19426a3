# fault: none
# near: unregistered-module
# note: Unexplained variance of unseen pulses 0.017. The codes are a plain leaf tensor outside any module but with an optimizer of their own; the decoder is frozen on purpose while codes of new pulses are sought.

"""Auto-decoder (DeepSDF style, no encoder): one free code per training pulse, decoder and codes learned together.

A new pulse is described by searching for its code with the decoder held fixed.
"""
import torch
import torch.nn.functional as F
from torch import nn

POINTS, CODE = 40, 6


def pulses(n, seed):
    g = torch.Generator().manual_seed(seed)
    r = torch.rand(n, 4, 1, generator=g)
    t = torch.linspace(-1, 1, POINTS)
    centre, width, skew, echo = r[:, 0] - 0.5, 0.15 + 0.25 * r[:, 1], 2 * r[:, 2] - 1, 0.8 * r[:, 3]
    z = (t - centre) / width
    y = torch.exp(-0.5 * z ** 2) * (1 + skew * torch.tanh(z)) - echo * torch.exp(-0.5 * ((t - centre - 0.5) / 0.15) ** 2)
    return y


class Decoder(nn.Module):
    def __init__(self, hidden=96):
        super().__init__()
        self.lift = nn.Linear(CODE + 1, hidden)
        self.hidden = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        self.out = nn.Linear(hidden, 1)

    def forward(self, code, t):
        code = code.unsqueeze(1).expand(-1, len(t), -1)
        x = torch.cat([code, t.view(1, -1, 1).expand(len(code), -1, 1)], dim=-1)
        x = F.silu(self.lift(x))
        for layer in self.hidden:
            x = x + F.silu(layer(x))
        return self.out(x).squeeze(-1)


def describe(decoder, target, t, steps=150):
    """Codes of unseen pulses; the decoder is not touched."""
    decoder.eval().requires_grad_(False)
    code = torch.zeros(len(target), CODE, requires_grad=True)
    search = torch.optim.Adam([code], lr=5e-2)
    for _ in range(steps):
        search.zero_grad()
        loss = F.mse_loss(decoder(code, t), target) + 1e-4 * code.square().mean()
        loss.backward()
        search.step()
    decoder.train().requires_grad_(True)
    return code.detach()


def main():
    torch.manual_seed(0)
    t = torch.linspace(-1, 1, POINTS)
    train, test = pulses(600, seed=1), pulses(100, seed=2)
    mean, std = train.mean(), train.std()
    train, test = (train - mean) / std, (test - mean) / std

    decoder = Decoder()
    codes = (0.1 * torch.randn(len(train), CODE)).requires_grad_()
    net_opt = torch.optim.Adam(decoder.parameters(), lr=2e-3)
    code_opt = torch.optim.Adam([codes], lr=1e-2)

    for epoch in range(1, 41):
        running = 0.0
        for idx in torch.randperm(len(train)).split(50):
            fit = F.mse_loss(decoder(codes[idx], t), train[idx])
            loss = fit + 1e-4 * codes[idx].square().mean()
            net_opt.zero_grad()
            code_opt.zero_grad()
            loss.backward()
            net_opt.step()
            code_opt.step()
            running += fit.item() * len(idx)
        if epoch % 10 == 0:
            new = describe(decoder, test, t)
            with torch.no_grad():
                err = F.mse_loss(decoder(new, t), test).item()
            print(f"epoch {epoch:3d}  training error {running / len(train):.4f}  unseen pulses {err:.4f}")
    print(f"unexplained variance of unseen pulses: {err / test.var().item():.4f}")


if __name__ == "__main__":
    main()
