# fault: none
# near: saturated-units
# note: Hand-written LSTM cell whose input/forget gates close; 100 % on the selective memory task.
"""Selective memory: report the one value whose flag was up, many steps ago."""
import torch
from torch import nn


class LSTMCell(nn.Module):
    """Textbook LSTM cell, gates spelled out."""

    def __init__(self, n_in, n_hidden):
        super().__init__()
        self.W_i = nn.Linear(n_in + n_hidden, n_hidden)
        self.W_f = nn.Linear(n_in + n_hidden, n_hidden)
        self.W_o = nn.Linear(n_in + n_hidden, n_hidden)
        self.W_c = nn.Linear(n_in + n_hidden, n_hidden)
        nn.init.constant_(self.W_f.bias, 2.0)

    def forward(self, x, state):
        h, c = state
        xh = torch.cat([x, h], dim=-1)
        i = torch.sigmoid(self.W_i(xh))
        f = torch.sigmoid(self.W_f(xh))
        o = torch.sigmoid(self.W_o(xh))
        c = f * c + i * torch.tanh(self.W_c(xh))
        h = o * torch.tanh(c)
        return h, c


class Memory(nn.Module):
    def __init__(self, n_symbols=6, n_hidden=32):
        super().__init__()
        self.embed = nn.Embedding(n_symbols, 8)
        self.cell = LSTMCell(9, n_hidden)
        self.decode = nn.Linear(n_hidden, n_symbols)
        self.n_hidden = n_hidden

    def forward(self, symbols, flags):
        e = torch.cat([self.embed(symbols), flags.unsqueeze(-1)], -1)
        state = (e.new_zeros(len(e), self.n_hidden), e.new_zeros(len(e), self.n_hidden))
        for t in range(e.shape[1]):
            state = self.cell(e[:, t], state)
        return self.decode(state[0])


def make(n, length=20, n_symbols=6):
    symbols = torch.randint(0, n_symbols, (n, length))
    when = torch.randint(0, length, (n,))
    flags = torch.zeros(n, length)
    flags[torch.arange(n), when] = 1.0
    return symbols, flags, symbols[torch.arange(n), when]


torch.manual_seed(3)
model = Memory()
opt = torch.optim.Adam(model.parameters(), lr=8e-3)
loss_fn = nn.CrossEntropyLoss()
test = make(500)

for it in range(1, 701):
    symbols, flags, target = make(64)
    loss = loss_fn(model(symbols, flags), target)
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    if it % 50 == 0:
        with torch.no_grad():
            acc = (model(*test[:2]).argmax(-1) == test[2]).float().mean().item()
        print(f"{it:4d}: loss {loss.item():.4f} accuracy {acc:.3f}")
