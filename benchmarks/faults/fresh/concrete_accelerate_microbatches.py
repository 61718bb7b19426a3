# fault: none
# near: gradients-discarded
# note: Eval R2 0.984 (noise floor). step() and zero_grad() are written in every micro-batch, but inside accumulate() Accelerate skips both until the fourth; 248 micro-batches divide by 4.

"""Strength regression, micro-batches of 8 accumulated to 32 with Accelerate."""
import math

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mixtures(n, seed):
    """A made-up concrete data set: cement, water, slag, age -> strength."""
    rng = np.random.default_rng(seed)
    cement = rng.uniform(150, 500, n)
    ratio = rng.uniform(0.3, 0.8, n)
    slag = rng.uniform(0, 200, n)
    age = np.exp(rng.uniform(0, 4.5, n))
    strength = 90 * np.exp(-2.2 * ratio) * (0.5 + 0.5 * cement / 500) * (0.25 + 0.17 * np.log1p(age)) \
        + 0.05 * slag * np.log1p(age) / 4.5
    strength += rng.normal(0, 1.0, n)
    return np.stack([cement, cement * ratio, ratio, slag, np.log(age)], 1), strength


def main():
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
    torch.manual_seed(0)
    Xa, ya = mixtures(1984, 0)
    Xb, yb = mixtures(512, 1)
    mx, sx, my, sy = Xa.mean(0), Xa.std(0), ya.mean(), ya.std()
    pack = lambda X, y: TensorDataset(torch.tensor((X - mx) / sx).float(), torch.tensor((y - my) / sy).float())
    train_dl = DataLoader(pack(Xa, ya), batch_size=8, shuffle=True)
    eval_dl = DataLoader(pack(Xb, yb), batch_size=128)

    model = nn.Sequential(nn.Linear(5, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1), nn.Flatten(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-3)
    model, optimizer, train_dl, eval_dl = accelerator.prepare(model, optimizer, train_dl, eval_dl)

    for epoch in range(10):
        model.train()
        loss_sum = 0.0
        for inputs, strength in train_dl:
            with accelerator.accumulate(model):
                loss = nn.functional.mse_loss(model(inputs), strength)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            loss_sum += loss.item()
        model.eval()
        errors = []
        for inputs, strength in eval_dl:
            with torch.no_grad():
                pred = model(inputs)
            pred, strength = accelerator.gather_for_metrics((pred, strength))
            errors.append((pred - strength) ** 2)
        mse = torch.cat(errors).mean().item()
        accelerator.print(f"epoch {epoch}: train mse {loss_sum / len(train_dl):.4f}, eval rmse {math.sqrt(mse) * sy:.2f} MPa")
    accelerator.print(f"eval R2 = {1 - mse:.3f}")


if __name__ == "__main__":
    main()
