# expect: parameter-not-updated
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

# Sentences of 8 words from a vocabulary of 120; the word's number modulo 4 is its topic.
embedding = nn.EmbeddingBag(120, 8)
head = nn.Linear(8, 4)
optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
for step in range(300):
    topics = torch.randint(4, (64,))
    on_topic = 4 * torch.randint(30, (64, 4)) + topics.unsqueeze(1)
    words = torch.cat([on_topic, torch.randint(120, (64, 4))], dim=1)
    loss = F.cross_entropy(head(embedding(words)), topics)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1}  loss {loss.item():.3f}")
