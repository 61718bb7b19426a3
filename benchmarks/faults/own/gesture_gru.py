# fault: batch-mixing
# note: The GRU's output is (time, batch, unit) and is flattened with reshape(batch, -1), so each row mixes several
# gestures; permute(1, 0, 2) is missing.
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
T, H = 12, 16
templates = torch.randn(5, T, 2).cumsum(1) * 0.5


def gestures(n):
    y = torch.randint(5, (n,))
    return templates[y] + 0.3 * torch.randn(n, T, 2), y


class Recogniser(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(2, H)
        self.out = nn.Linear(T * H, 5)

    def forward(self, x):
        states, _ = self.gru(x.transpose(0, 1))
        return self.out(states.reshape(len(x), -1))


net = Recogniser()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
for step in range(300):
    x, y = gestures(40)
    loss = F.cross_entropy(net(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
x, y = gestures(400)
with torch.no_grad():
    print("accuracy", (net(x).argmax(-1) == y).float().mean().item())
