# fault: none
# near: loss-at-init
# note: All 300 held-out dates exact (1.0). The first loss (24 = 10 x ln 11) is a sum over ten characters.

"""Rewrite human dates ("7 march 2019", "mar 7, 2019") as ISO dates with a GRU encoder and an attentive
decoder. The loss is the negative log-likelihood of the whole answer: summed over its 10 characters,
averaged over the batch."""
import datetime
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

IN_CHARS = "\0abcdefghijklmnopqrstuvwxyz0123456789 ,./"
OUT_CHARS = "0123456789-^"
MONTHS = [datetime.date(2000, m, 1).strftime("%B").lower() for m in range(1, 13)]


def sample_date(rnd):
    d = datetime.date(1950, 1, 1) + datetime.timedelta(days=rnd.randrange(27000))
    m = MONTHS[d.month - 1]
    style = rnd.randrange(4)
    human = [f"{d.day} {m} {d.year}", f"{m[:3]} {d.day}, {d.year}", f"{d.day:02d}.{d.month:02d}.{d.year}",
             f"{d.day}/{d.month}/{d.year}"][style]
    return human, d.isoformat()


def encode(pairs):
    longest = max(len(h) for h, _ in pairs)
    src = torch.tensor([[IN_CHARS.index(c) for c in h.ljust(longest, "\0")] for h, _ in pairs])
    tgt = torch.tensor([[OUT_CHARS.index(c) for c in iso] for _, iso in pairs])
    return src, tgt


class DateNet(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.embed_in = nn.Embedding(len(IN_CHARS), 24)
        self.encoder = nn.GRU(24, h // 2, batch_first=True, bidirectional=True)
        self.embed_out = nn.Embedding(len(OUT_CHARS), 24)
        self.decoder = nn.GRU(24, h, batch_first=True)
        self.key = nn.Linear(h, h, bias=False)
        self.out = nn.Linear(2 * h, 11)

    def forward(self, src, tgt_in):
        memory, _ = self.encoder(self.embed_in(src))
        state, _ = self.decoder(self.embed_out(tgt_in))
        score = state @ self.key(memory).transpose(1, 2) / 8.0
        score = score.masked_fill((src == 0).unsqueeze(1), float("-inf"))
        context = score.softmax(-1) @ memory
        return self.out(torch.cat([state, context], -1))

    @torch.no_grad()
    def translate(self, src):
        ids = torch.full((len(src), 1), 11)
        for _ in range(10):
            ids = torch.cat([ids, self(src, ids)[:, -1:].argmax(-1)], 1)
        return ids[:, 1:]


def main():
    rnd = random.Random(1)
    torch.manual_seed(1)
    net = DateNet()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda k: max(0.1, 1 - k / 500))
    held = encode([sample_date(rnd) for _ in range(300)])
    for step in range(1, 501):
        src, tgt = encode([sample_date(rnd) for _ in range(48)])
        start = torch.full((len(tgt), 1), 11)
        logits = net(src, torch.cat([start, tgt[:, :-1]], 1))
        nll = F.cross_entropy(logits.transpose(1, 2), tgt, reduction="sum") / len(tgt)
        opt.zero_grad()
        nll.backward()
        opt.step()
        sched.step()
        if step % 100 == 0 or step == 1:
            net.eval()
            exact = (net.translate(held[0]) == held[1]).all(1).float().mean().item()
            net.train()
            print(f"step {step}: nll per date {nll.item():.3f}, exact matches {exact:.3f}")
    print("dates translated without error:", round(exact, 3))


if __name__ == "__main__":
    main()
