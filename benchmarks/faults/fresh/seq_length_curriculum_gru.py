# fault: none
# near: exploding-gradient
# note: Bit error rate .0480 (optimum .0478). Losses and gradients are sums over ever longer sequences and larger batches: the norm grows steadily from 2 to 210 with the number of terms, without any instability (Adam is indifferent to the scale).

"""Receiver with memory: a noisy two-level signal comes in, the bit sent three steps earlier must come out.
Sequences get longer in stages; the loss is summed over time steps and batch, as in the original Theano code."""
import numpy as np
import torch
from torch import nn

STAGES = [(6, 8), (12, 16), (24, 24), (48, 32), (80, 48)]  # (length, batch size)
DELAY = 3


def stream(batch, length, rng):
    bits = rng.integers(0, 2, (batch, length + DELAY))
    received = (2 * bits - 1) + rng.normal(0, 0.6, bits.shape)
    return (torch.tensor(received, dtype=torch.float32).unsqueeze(-1),
            torch.tensor(bits[:, :length], dtype=torch.float32))


class Receiver(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.emit = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.gru(x)
        return self.emit(h[:, DELAY:]).squeeze(-1)


def error_rate(model, length, rng):
    model.eval()
    x, bits = stream(300, length, rng)
    with torch.no_grad():
        return ((model(x) > 0).float() != bits).float().mean().item()


def main():
    torch.manual_seed(5)
    rng = np.random.default_rng(5)
    model = Receiver()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    criterion = nn.BCEWithLogitsLoss(reduction="sum")
    for stage, (length, batch) in enumerate(STAGES):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * 0.7 ** stage
        model.train()
        per_bit = []
        for _ in range(200 if length < 80 else 120):
            x, bits = stream(batch, length, rng)
            optimizer.zero_grad()
            loss = criterion(model(x), bits)
            loss.backward()
            optimizer.step()
            per_bit.append(loss.item() / bits.numel())
        print(f"length {length:3d}: nats per bit {np.mean(per_bit[:20]):.3f} -> {np.mean(per_bit[-20:]):.3f}, "
              f"error rate at this length {error_rate(model, length, rng):.3f}")
    print(f"bit error rate on streams of 80: {error_rate(model, 80, rng):.4f} (a perfect receiver: 0.0478)")


if __name__ == "__main__":
    main()
