# fault: none
# near: log-softmax-mismatch
# note: Student and teacher 1.000 on the test set. Log-probabilities go to nll_loss, and log_softmax of log-probabilities / T is right (they are logits up to a constant); KL against the teacher's softened softmax; the teacher is frozen and under no_grad.

"""Distil a recurrent intent classifier into a bag-of-words student."""
import random
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

INTENTS = {"weather": "rain sun forecast cold snow umbrella".split(),
           "music": "play song album louder band tune".split(),
           "alarm": "wake clock morning remind snooze timer".split(),
           "travel": "train flight ticket hotel route map".split()}
COMMON = "please can you the a me for my at is what today now some to".split()
VOCAB = {w: i for i, w in enumerate(sorted(set(sum(INTENTS.values(), COMMON))))}
TEMP, ALPHA = 2.0, 0.5


class Utterances(Dataset):
    def __init__(self, n, seed):
        r = random.Random(seed)
        self.rows = []
        for _ in range(n):
            y = r.randrange(4)
            words = [r.choice(COMMON) for _ in range(6)] + [r.choice(list(INTENTS.values())[y]) for _ in range(3)]
            words.append(r.choice(r.choice(list(INTENTS.values()))))
            r.shuffle(words)
            self.rows.append((torch.tensor([VOCAB[w] for w in words]), y))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        ids, y = self.rows[i]
        return {"input_ids": ids, "labels": y}


class Teacher(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.emb = nn.Embedding(len(VOCAB), d)
        self.rnn = nn.GRU(d, d, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * d, 4)

    def forward(self, input_ids, labels=None):
        logits = self.out(self.rnn(self.emb(input_ids))[0].mean(1))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SimpleNamespace(logits=logits, loss=loss)


class Student(nn.Module):
    """Answers with log-probabilities: that is what the phone expects."""

    def __init__(self, d=16):
        super().__init__()
        self.bag = nn.EmbeddingBag(len(VOCAB), d, mode="mean")
        self.out = nn.Linear(d, 4)

    def forward(self, input_ids):
        return F.log_softmax(self.out(self.bag(input_ids)), dim=-1)


def distil_step(student, teacher, batch):
    logp = student(batch["input_ids"])
    with torch.no_grad():
        soft = F.softmax(teacher(batch["input_ids"]).logits / TEMP, dim=-1)
    kl = F.kl_div(F.log_softmax(logp / TEMP, dim=-1), soft, reduction="batchmean") * TEMP ** 2
    return ALPHA * kl + (1 - ALPHA) * F.nll_loss(logp, batch["labels"])


def optimise(net, loss_of, loader, epochs, lr):
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    for epoch in range(epochs):
        net.train()
        for batch in loader:
            loss = loss_of(batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"{type(net).__name__} epoch {epoch}: last loss {loss.item():.3f}")


def main():
    torch.manual_seed(2)
    train, test = Utterances(3000, 1), Utterances(600, 2)
    loader = DataLoader(train, batch_size=32, shuffle=True)
    teacher, student = Teacher(), Student()
    optimise(teacher, lambda b: teacher(**b).loss, loader, 3, 2e-3)
    teacher.eval().requires_grad_(False)
    optimise(student, lambda b: distil_step(student, teacher, b), loader, 6, 1e-2)
    student.eval()
    batch = next(iter(DataLoader(test, batch_size=600)))
    with torch.inference_mode():
        s = (student(batch["input_ids"]).argmax(1) == batch["labels"]).float().mean().item()
        t = (teacher(batch["input_ids"]).logits.argmax(1) == batch["labels"]).float().mean().item()
    print(f"test accuracy: teacher {t:.3f}, student {s:.3f}")


if __name__ == "__main__":
    main()
