import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)

V = 200


class G(nn.Module):
    def __init__(s, d=64):
        super().__init__()
        s.e = nn.Embedding(V, d)
        s.p = nn.Embedding(32, d)
        l = nn.TransformerEncoderLayer(d, 4, 128, batch_first=True, dropout=0.0)
        s.t = nn.TransformerEncoder(l, 2)
        s.h = nn.Linear(d, V, bias=False)
        s.h.weight = s.e.weight

    def forward(s, x):
        n = x.shape[1]
        m = nn.Transformer.generate_square_subsequent_mask(n)
        return s.h(s.t(s.e(x) + s.p(torch.arange(n)), mask=m, is_causal=True))


D = torch.randint(V, (300, 1))
D = (D + torch.arange(33) * 3) % V
m = G()
o = torch.optim.AdamW(m.parameters(), 1e-3)
for i in range(250):
    b = D[torch.randint(300, (16,))]
    l = F.cross_entropy(m(b[:, :-1]).flatten(0, 1), b[:, 1:].flatten())
    o.zero_grad()
    l.backward()
    o.step()
    if i % 50 == 0:
        print(i, l.item())
