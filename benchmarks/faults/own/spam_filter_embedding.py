# fault: constant-output
# accept: output-activation-mismatch, loss-not-decreasing, wrong-softmax-dim, saturated-units, parameter-not-updated
# note: A softmax over a single output is always 1, whatever the message; a sigmoid was meant.
import torch
from torch import nn

torch.manual_seed(2)
VOCABULARY = 300
spam_words = torch.randperm(VOCABULARY)[:40]


def messages(n, length=15):
    ids = torch.randint(VOCABULARY, (n, length))
    spam = torch.rand(n) < 0.5
    planted = spam_words[torch.randint(40, (n, 3))]
    ids[:, :3] = torch.where(spam[:, None], planted, ids[:, :3])
    return ids, spam.float()


class SpamFilter(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(VOCABULARY, 24)
        self.hidden = nn.Linear(24, 24)
        self.score = nn.Linear(24, 1)

    def forward(self, ids):
        return torch.softmax(self.score(torch.relu(self.hidden(self.words(ids)))), dim=1)


model = SpamFilter()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
criterion = nn.BCELoss()
for step in range(300):
    ids, spam = messages(64)
    loss = criterion(model(ids).squeeze(1), spam)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
ids, spam = messages(1000)
print("accuracy", ((model(ids).squeeze(1) > 0.5) == spam.bool()).float().mean().item())
