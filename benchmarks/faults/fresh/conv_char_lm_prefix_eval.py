# fault: target-leakage
# note: The dilated convolutions use symmetric ('same') padding instead of left padding, so position t sees t+1, which it has to predict. Training loss 0.01 (below the entropy of the text, about 0.43) and next-character accuracy from prefixes 0.770 with the fault; 0.44 and 0.827 (about the best possible) without. The gap in accuracy is moderate, the leak is total.

"""Character model with dilated convolutions (ByteNet / WaveNet style) on generated arithmetic lines.

Quality is judged the way the model is used: it is fed a prefix and has to name the next character.
"""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F


class Text:
    def __init__(self, lines, seed, alphabet=None):
        rng = random.Random(seed)
        out = []
        for _ in range(lines):
            a, b = rng.randint(0, 9), rng.randint(0, 9)
            word = rng.choice(["add", "sum", "plus"])
            out.append(f"{word} {a} {b} is {a + b}; ")
        self.raw = "".join(out)
        self.alphabet = alphabet or sorted(set(self.raw))
        lookup = {c: i for i, c in enumerate(self.alphabet)}
        self.ids = torch.tensor([lookup[c] for c in self.raw])

    def random_batch(self, batch, length):
        start = torch.randint(0, len(self.ids) - length - 1, (batch,))
        block = torch.stack([self.ids[s:s + length + 1] for s in start])
        return block[:, :-1], block[:, 1:]


class ResidualBlock(nn.Module):
    def __init__(self, channels, kernel, dilation):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv1d(channels, channels, kernel, dilation=dilation,
                              padding=(kernel - 1) * dilation // 2)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y = F.gelu(self.conv(y))
        return x + self.mix(y)


class ConvLM(nn.Module):
    def __init__(self, vocab, channels=48, kernel=3, dilations=(1, 2, 4, 8)):
        super().__init__()
        self.token = nn.Embedding(vocab, channels)
        self.blocks = nn.ModuleList(ResidualBlock(channels, kernel, d) for d in dilations)
        self.norm = nn.LayerNorm(channels)
        self.out = nn.Linear(channels, vocab)

    def forward(self, ids):
        x = self.token(ids).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x.transpose(1, 2)))


@torch.no_grad()
def next_char_accuracy(model, text, prefix=40, samples=600):
    model.eval()
    starts = torch.linspace(0, len(text.ids) - prefix - 1, samples).long()
    prompts = torch.stack([text.ids[s:s + prefix] for s in starts])
    truth = torch.stack([text.ids[s + prefix] for s in starts])
    return (model(prompts)[:, -1].argmax(-1) == truth).float().mean().item()


def main(steps=500, batch=10, length=128):
    torch.manual_seed(0)
    train = Text(3000, seed=1)
    held_out = Text(300, seed=2, alphabet=train.alphabet)
    model = ConvLM(len(train.alphabet))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)

    model.train()
    for step in range(1, steps + 1):
        inputs, targets = train.random_batch(batch, length)
        logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 100 == 0:
            print(f"step {step:4d} | loss {loss.item():.4f}")

    print(f"next-character accuracy on held-out text: {next_char_accuracy(model, held_out):.3f}")


if __name__ == "__main__":
    main()
