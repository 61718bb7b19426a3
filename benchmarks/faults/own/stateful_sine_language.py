# fault: none
# near: data-not-shuffled
# note: Truncated back-propagation over eight parallel streams: the order is the point, and the detached state goes on
# from chunk to chunk.
import torch
from torch import nn

torch.manual_seed(3)
STREAMS, CHUNK, SYMBOLS = 8, 20, 12
length = 4000
t = torch.arange(length)
signal = torch.stack([torch.sin(t / (3 + k)) + 0.15 * torch.randn(length) for k in range(STREAMS)])
symbols = ((signal + 1.5) / 3 * SYMBOLS).long().clamp(0, SYMBOLS - 1)

embed, core, head = nn.Embedding(SYMBOLS, 24), nn.LSTM(24, 48, batch_first=True), nn.Linear(48, SYMBOLS)
parameters = [*embed.parameters(), *core.parameters(), *head.parameters()]
optimizer = torch.optim.Adam(parameters, lr=4e-3)
losses = []
for epoch in range(2):
    state = None
    for start in range(0, length - CHUNK - 1, CHUNK):
        now, then = symbols[:, start:start + CHUNK], symbols[:, start + 1:start + CHUNK + 1]
        hidden, state = core(embed(now), state)
        state = tuple(part.detach() for part in state)
        loss = nn.functional.cross_entropy(head(hidden).flatten(0, 1), then.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        losses.append(loss.item())
print(f"first {losses[0]:.3f}, last hundred {sum(losses[-100:]) / 100:.3f}")
