# fault: none
# near: labels-misaligned
# note: Two loader workers, a collate function that returns a dataclass, a model that takes and returns dicts, and
# CutMix-like mixing of inputs together with their labels.
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Batch:
    pixels: torch.Tensor
    target: torch.Tensor


class Shapes(Dataset):
    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.kind = torch.randint(4, (count,), generator=generator)
        self.noise = 0.6 * torch.randn(count, 1, 12, 12, generator=generator)

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, index):
        image, kind = self.noise[index].clone(), int(self.kind[index])
        corner = (slice(1, 6) if kind % 2 else slice(6, 11), slice(1, 6) if kind // 2 else slice(6, 11))
        image[0][corner] += 1.0
        return image, kind


def collate(items):
    images, kinds = zip(*items)
    return Batch(torch.stack(images), F.one_hot(torch.tensor(kinds), 4).float())


class ShapeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 4))

    def forward(self, batch):
        logits = self.body(batch["pixels"])
        return {"logits": logits, "loss": F.cross_entropy(logits, batch["target"])}


def main():
    torch.manual_seed(0)
    train = DataLoader(Shapes(1200, 1), 40, shuffle=True, num_workers=2, collate_fn=collate, persistent_workers=True)
    test = Shapes(300, 2)
    model = ShapeNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(6):
        for batch in train:
            order, share = torch.randperm(len(batch.pixels)), 0.8 + 0.2 * torch.rand(())
            pixels = share * batch.pixels + (1 - share) * batch.pixels[order]
            target = share * batch.target + (1 - share) * batch.target[order]
            loss = model({"pixels": pixels, "target": target})["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    batch = collate([test[i] for i in range(len(test))])
    with torch.no_grad():
        said = model({"pixels": batch.pixels, "target": batch.target})["logits"].argmax(1)
    print("accuracy", (said == batch.target.argmax(1)).float().mean().item())


if __name__ == "__main__":
    main()
