# fault: none
# near: symmetric-init
# note: LoRA accuracy 0.956 on turned digits. lora_b starts at zero (all its rows alike at first) as LoRA wants, lora_a is random, the base is frozen on purpose; a deepcopy keeps the first model.

"""LoRA on a plain MLP: train on upright digits, freeze, adapt to digits turned by 90 degrees."""
import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, rank=6, alpha=12):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.lora_a.T) @ self.lora_b.T


def add_lora(module):
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, LoRALinear(child))
        else:
            add_lora(child)
    return module


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def run(model, params, x, y, xt, yt, epochs, lr, tag):
    opt = torch.optim.AdamW(params, lr=lr, weight_decay=0.01)
    for epoch in range(epochs):
        model.train()
        for idx in torch.randperm(len(x)).split(32):
            loss = F.cross_entropy(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 4 == 3:
            print(f"{tag} epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy(model, xt, yt):.3f}")


torch.manual_seed(10)
digits = load_digits()
images = (torch.tensor(digits.images, dtype=torch.float32) - 4.884) / 6.017
xa, xb, ya, yb = train_test_split(images, torch.tensor(digits.target), test_size=0.3, random_state=10)
turn = lambda t: torch.rot90(t, 1, dims=(1, 2)).contiguous()

base = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 10))
run(base, base.parameters(), xa, ya, xb, yb, epochs=12, lr=1.5e-3, tag="base")
print(f"base on upright {accuracy(base, xb, yb):.3f}, on turned {accuracy(base, turn(xb), yb):.3f}")

adapted = add_lora(copy.deepcopy(base))
trainable = [p for p in adapted.parameters() if p.requires_grad]
print("trainable:", sum(p.numel() for p in trainable), "of", sum(p.numel() for p in adapted.parameters()))
run(adapted, trainable, turn(xa), ya, turn(xb), yb, epochs=16, lr=4e-3, tag="lora")
print(f"LoRA on turned digits: accuracy {accuracy(adapted, turn(xb), yb):.3f}")
