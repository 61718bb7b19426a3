# fault: gradients-discarded
# note: zero_grad() at every micro-batch inside of the accumulation, so 7 of 8 backward results are thrown away before each step; test accuracy 0.916 and train loss 0.43, with zero_grad after the step 0.971 and 0.04.

"""Train on a memory-poor box: micro-batches of 8, one update per 8 micro-batches."""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


@dataclass
class Config:
    micro_batch: int = 8
    accum_steps: int = 8
    lr: float = 0.1
    epochs: int = 12
    seed: int = 11


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        torch.manual_seed(cfg.seed)
        X, y = load_digits(return_X_y=True)
        a, b, c, d = train_test_split(X / 8.0 - 1.0, y, test_size=0.25, stratify=y, random_state=cfg.seed)
        self.Xtr, self.Xte = torch.tensor(a).float(), torch.tensor(b).float()
        self.ytr, self.yte = torch.tensor(c), torch.tensor(d)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(64, 96), torch.nn.GELU(),
            torch.nn.Linear(96, 48), torch.nn.GELU(),
            torch.nn.Linear(48, 10),
        )
        self.opt = torch.optim.SGD(self.model.parameters(), lr=cfg.lr, momentum=0.8)

    def micro_batches(self):
        n = len(self.Xtr) // (self.cfg.micro_batch * self.cfg.accum_steps)
        perm = torch.randperm(len(self.Xtr))[: n * self.cfg.micro_batch * self.cfg.accum_steps]
        return perm.split(self.cfg.micro_batch)

    def train_epoch(self):
        self.model.train()
        total, count = 0.0, 0
        for i, idx in enumerate(self.micro_batches()):
            self.opt.zero_grad()
            loss = F.cross_entropy(self.model(self.Xtr[idx]), self.ytr[idx])
            (loss / self.cfg.accum_steps).backward()
            if (i + 1) % self.cfg.accum_steps == 0:
                self.opt.step()
            total += loss.item()
            count += 1
        return total / count

    @torch.no_grad()
    def test(self):
        self.model.eval()
        return (self.model(self.Xte).argmax(-1) == self.yte).float().mean().item()

    def run(self):
        for e in range(self.cfg.epochs):
            l = self.train_epoch()
            print(f"{e:02d} train_loss={l:.4f} test_acc={self.test():.4f}")
        return self.test()


if __name__ == "__main__":
    print("final test accuracy", round(Trainer(Config()).run(), 4))
