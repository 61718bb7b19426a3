# fault: none
# near: lr-zero
# note: Validation accuracy 0.985. The rate starts at 0, warms up over two epochs and ends at 0 after the cosine, stepped per batch over exactly epochs x batches.

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ALPHABET = "ACGT"
MOTIFS = ["TATAAT", "GGCCGG", "CACGTG", "TGACTC"]


@dataclass
class Config:
    n_train: int = 2400
    n_valid: int = 600
    seq_len: int = 36
    d_model: int = 32
    n_heads: int = 4
    n_layers: int = 2
    batch_size: int = 48
    epochs: int = 9
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup_epochs: int = 2
    seed: int = 3


def simulate(n, cfg, gen):
    seqs = torch.randint(0, 4, (n, cfg.seq_len), generator=gen)
    labels = torch.randint(0, len(MOTIFS), (n,), generator=gen)
    for i in range(n):
        motif = torch.tensor([ALPHABET.index(c) for c in MOTIFS[labels[i]]])
        at = torch.randint(0, cfg.seq_len - len(motif), (1,), generator=gen).item()
        seqs[i, at:at + len(motif)] = motif
    return TensorDataset(seqs, labels)


class MotifTransformer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.conv = nn.Conv1d(4, cfg.d_model, kernel_size=5, padding=2)
        self.position = nn.Parameter(0.02 * torch.randn(1, cfg.seq_len, cfg.d_model))
        block = nn.TransformerEncoderLayer(cfg.d_model, cfg.n_heads, 2 * cfg.d_model, dropout=0.0,
                                           activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(block, cfg.n_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(cfg.d_model)
        self.classify = nn.Linear(cfg.d_model, len(MOTIFS))

    def forward(self, tokens):
        onehot = nn.functional.one_hot(tokens, 4).float().transpose(1, 2)
        h = self.conv(onehot).transpose(1, 2) + self.position
        return self.classify(self.norm(self.encoder(h)).mean(dim=1))


class Experiment:
    def __init__(self, cfg):
        torch.manual_seed(cfg.seed)
        gen = torch.Generator().manual_seed(cfg.seed)
        self.cfg = cfg
        self.train_dl = DataLoader(simulate(cfg.n_train, cfg, gen), cfg.batch_size, shuffle=True)
        self.valid_dl = DataLoader(simulate(cfg.n_valid, cfg, gen), 200)
        self.net = MotifTransformer(cfg)
        self.optim = torch.optim.AdamW(self.net.parameters(), lr=cfg.learning_rate, weight_decay=cfg.weight_decay)
        per_epoch = len(self.train_dl)
        warm, total = cfg.warmup_epochs * per_epoch, cfg.epochs * per_epoch

        def shape(step):
            if step < warm:
                return step / warm
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / (total - warm))))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optim, shape)
        self.criterion = nn.CrossEntropyLoss()

    def fit(self):
        for epoch in range(1, self.cfg.epochs + 1):
            self.net.train()
            losses = []
            for tokens, label in self.train_dl:
                self.optim.zero_grad()
                loss = self.criterion(self.net(tokens), label)
                loss.backward()
                self.optim.step()
                self.schedule.step()
                losses.append(loss.item())
            print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f} valid acc {self.validate():.3f}")

    @torch.no_grad()
    def validate(self):
        self.net.eval()
        hits = sum((self.net(t).argmax(1) == y).sum().item() for t, y in self.valid_dl)
        return hits / len(self.valid_dl.dataset)


if __name__ == "__main__":
    exp = Experiment(Config())
    exp.fit()
    print("validation accuracy", round(exp.validate(), 4))
