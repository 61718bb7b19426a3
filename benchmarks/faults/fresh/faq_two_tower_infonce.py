# fault: none
# near: weight-tying-broken
# note: Recall@1 0.953 among 150. The second tower is a deep copy of the warmed-up first one and is meant to part from it (DPR); in-batch negatives make the loss, not the outputs, depend on the other rows.

"""Dense retrieval for an FAQ (DPR style): question tower and answer tower.

Both towers start from the same warmed-up encoder and are then trained separately with in-batch negatives.
"""
import copy
import random

import torch
import torch.nn.functional as F
from torch import nn

VOCAB, TOPICS, DIM = 500, 150, 48
random.seed(0)
torch.manual_seed(0)

# Questions and answers about one topic use different but overlapping words.
topic_words = []
for _ in range(TOPICS):
    words = random.sample(range(VOCAB), 14)
    topic_words.append((words[:9], words[5:]))


def text(words, length=10):
    return [random.choice(words) if random.random() < 0.8 else random.randrange(VOCAB) for _ in range(length)]


def pair_batch(size):
    topics = random.sample(range(TOPICS), size)          # no two alike: the other rows are true negatives
    q = torch.tensor([text(topic_words[t][0]) for t in topics])
    a = torch.tensor([text(topic_words[t][1]) for t in topics])
    return q, a


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(VOCAB, DIM, mode="mean")
        self.norm = nn.LayerNorm(DIM)
        self.ff = nn.Sequential(nn.Linear(DIM, 96), nn.GELU(), nn.Linear(96, DIM))

    def forward(self, ids):
        h = self.norm(self.words(ids))
        return h + self.ff(h)


def warm_up(steps=300):
    """Bag-of-words auto-encoding over all texts: predict a held-out word of the text from the others."""
    tower, out = Tower(), nn.Linear(DIM, VOCAB)
    opt = torch.optim.Adam([*tower.parameters(), *out.parameters()], lr=3e-3)
    tower.train()
    for step in range(steps):
        q, a = pair_batch(64)
        ids = torch.cat([q, a])
        loss = F.cross_entropy(out(tower(ids[:, 1:])), ids[:, 0])
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 100 == 99:
            print(f"warm-up {step + 1}: {loss.item():.3f}")
    return tower


def info_nce(q, a, temperature=0.07):
    logits = F.normalize(q, dim=1) @ F.normalize(a, dim=1).T / temperature
    target = torch.arange(len(q))
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


@torch.no_grad()
def recall_at_1(question_tower, answer_tower, rounds=10):
    question_tower.eval()
    answer_tower.eval()
    hits = []
    for _ in range(rounds):
        q, a = pair_batch(TOPICS)
        sim = F.normalize(question_tower(q), dim=1) @ F.normalize(answer_tower(a), dim=1).T
        hits.append((sim.argmax(1) == torch.arange(TOPICS)).float().mean())
    return torch.stack(hits).mean().item()


base = warm_up()
question_tower, answer_tower = base, copy.deepcopy(base)
print(f"recall@1 before contrastive training {recall_at_1(question_tower, answer_tower):.3f}")

params = list(question_tower.parameters()) + list(answer_tower.parameters())
opt = torch.optim.AdamW(params, lr=3e-3, weight_decay=0.01)
for step in range(1, 1201):
    question_tower.train()
    answer_tower.train()
    q, a = pair_batch(64)
    loss = info_nce(question_tower(q), answer_tower(a))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 200 == 0:
        print(f"step {step}: loss {loss.item():.3f}  recall@1 {recall_at_1(question_tower, answer_tower, 2):.3f}")

print(f"final recall@1 among {TOPICS} answers: {recall_at_1(question_tower, answer_tower):.3f}")
