# fault: none
# near: nan-or-inf
# note: mean IoU 0.906. The dynamic loss scale starts at 2^22, the first 5 steps have inf gradients and are skipped by the scaler; unscale_ before clipping; the schedule steps only when the optimizer did.

"""Tagging burst segments in noisy signals, fp16 with dynamic loss scaling."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def bursts(n, length, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, length, generator=g)
    tags = torch.zeros(n, length, dtype=torch.long)
    t = torch.arange(length)
    for i in range(n):
        for kind in (1, 2):
            start = int(torch.randint(0, length - 16, (1,), generator=g))
            width = int(torch.randint(8, 16, (1,), generator=g))
            freq = 0.6 if kind == 1 else 1.8
            seg = slice(start, start + width)
            x[i, seg] += 4.0 * torch.sin(freq * t[seg] + 6 * torch.rand(1, generator=g))
            tags[i, seg] = kind
    return (x - x.mean()) / x.std(), tags


class Tagger(nn.Module):
    def __init__(self, d=32, taps=9):
        super().__init__()
        self.taps = taps
        self.inp = nn.Linear(taps, d)
        self.ff1 = nn.Linear(3 * d, d)
        self.ff2 = nn.Linear(3 * d, d)
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.out = nn.Linear(d, 3)

    @staticmethod
    def neighbours(h, hop):
        pad = nn.functional.pad(h, (0, 0, hop, hop))
        n = h.shape[1]
        return torch.cat([pad[:, :n], h, pad[:, 2 * hop:2 * hop + n]], -1)

    def forward(self, x):
        k = self.taps // 2
        win = nn.functional.pad(x, (k, k)).unfold(1, self.taps, 1)
        h = nn.functional.gelu(self.inp(win))
        h = h + nn.functional.gelu(self.ff1(self.neighbours(self.ln1(h), 3)))
        h = h + nn.functional.gelu(self.ff2(self.neighbours(self.ln2(h), 6)))
        return self.out(h)


class AmpTrainer:
    def __init__(self, model, lr, epochs, steps):
        self.model = model
        self.opt = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-3)
        self.sched = torch.optim.lr_scheduler.LinearLR(self.opt, 1.0, 0.1, total_iters=epochs * steps)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 22, growth_interval=150)
        self.skipped = 0

    def step(self, x, y):
        self.opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            logits = self.model(x)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), y.flatten())
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.opt)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        before = self.scaler.get_scale()
        self.scaler.step(self.opt)
        self.scaler.update()
        if self.scaler.get_scale() < before:
            self.skipped += 1
        else:
            self.sched.step()
        return loss.item()


def evaluate(model, loader):
    model.eval()
    inter, union = torch.zeros(3), torch.zeros(3)
    with torch.inference_mode():
        for x, y in loader:
            p = model(x).argmax(-1)
            for c in range(3):
                inter[c] += ((p == c) & (y == c)).sum()
                union[c] += ((p == c) | (y == c)).sum()
    return (inter / union).mean().item()


if __name__ == "__main__":
    torch.manual_seed(23)
    train = DataLoader(TensorDataset(*bursts(900, 64, 1)), batch_size=20, shuffle=True)
    test = DataLoader(TensorDataset(*bursts(200, 64, 2)), batch_size=100)
    EPOCHS = 6
    trainer = AmpTrainer(Tagger(), 3e-3, EPOCHS, len(train))
    for epoch in range(EPOCHS):
        trainer.model.train()
        loss = sum(trainer.step(x, y) for x, y in train) / len(train)
        print(f"epoch {epoch} loss {loss:.4f} mIoU {evaluate(trainer.model, test):.3f} scale {trainer.scaler.get_scale():.0f} skipped {trainer.skipped}")
    print("mean IoU %.3f" % evaluate(trainer.model, test))
