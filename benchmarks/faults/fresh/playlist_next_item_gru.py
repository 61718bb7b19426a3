# fault: weight-tying-broken
# note: tie_weights copies the data of the embedding into the output layer instead of sharing the parameter; the two drift apart, and serving uses the embedding table alone. Hit rate at 10 is 0.503 with the fault, 1.000 with a shared parameter.

"""Next-item recommendation (GRU4Rec flavour) with shared input/output item vectors.

After training only the user tower and ONE item table go to the serving side, where candidates are found
by inner product; that is what `serve_hit_rate` imitates.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Playlists(Dataset):
    """Listeners drift along a genre: the next track is a close neighbour of the current one."""

    def __init__(self, listeners, tracks=240, length=12, seed=0):
        g = torch.Generator().manual_seed(seed)
        step = torch.randint(1, 4, (listeners, length), generator=g)
        start = torch.randint(0, tracks, (listeners, 1), generator=g)
        mood = torch.randint(0, 2, (listeners, 1), generator=g) * 2 - 1
        shuffle = torch.randperm(tracks, generator=torch.Generator().manual_seed(77))
        self.sequences = shuffle[(start + mood * step.cumsum(1)) % tracks]

    def __len__(self):
        return len(self.sequences)

    def __getitem__(self, i):
        s = self.sequences[i]
        return {"history": s[:-1], "next": s[1:]}


class NextItem(nn.Module):
    def __init__(self, tracks, dim=48):
        super().__init__()
        self.item_embedding = nn.Embedding(tracks, dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.project = nn.Linear(dim, dim)
        self.to_items = nn.Linear(dim, tracks, bias=False)
        self.reset_parameters()
        self.tie_weights()

    def reset_parameters(self):
        nn.init.normal_(self.item_embedding.weight, std=self.item_embedding.embedding_dim ** -0.5)

    def tie_weights(self):
        self.to_items.weight.data = self.item_embedding.weight.data.clone()

    def user_vectors(self, history):
        h, _ = self.gru(self.item_embedding(history))
        return self.project(h)

    def forward(self, history):
        return self.to_items(self.user_vectors(history))


@torch.no_grad()
def serve_hit_rate(model, loader, k=10):
    model.eval()
    index = model.item_embedding.weight                     # the exported table
    hits = total = 0
    for batch in loader:
        user = model.user_vectors(batch["history"])[:, -1]
        top = (user @ index.T).topk(k, dim=1).indices
        hits += (top == batch["next"][:, -1:]).any(1).sum().item()
        total += len(top)
    return hits / total


def train(model, loader, valid, epochs=15):
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(1, epochs + 1):
        model.train()
        losses = []
        for batch in loader:
            logits = model(batch["history"])
            loss = F.cross_entropy(logits.flatten(0, 1), batch["next"].flatten())
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 3 == 0:
            print(f"epoch {epoch:2d}  loss {sum(losses) / len(losses):.3f}  hit@10 {serve_hit_rate(model, valid):.3f}")


if __name__ == "__main__":
    torch.manual_seed(31)
    train_loader = DataLoader(Playlists(1600, seed=1), batch_size=40, shuffle=True)
    valid_loader = DataLoader(Playlists(600, seed=2), batch_size=200)
    model = NextItem(tracks=240)
    train(model, train_loader, valid_loader)
    print(f"served hit rate at 10: {serve_hit_rate(model, valid_loader):.3f}")
