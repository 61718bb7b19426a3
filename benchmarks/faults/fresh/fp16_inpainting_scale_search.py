# fault: none
# near: loss-scale-underflow
# note: Error on the hidden half 0.266 (mean image 0.509). The scale starts at 2**20 and is searched (growth every 120 steps, 5 steps skipped in 950); unscale_ comes before the clip, which is rarely active.

"""Fill the masked half of a digit in float16. The loss scale starts high and is searched for while training."""
import logging

import torch
from sklearn.datasets import load_digits
from torch import nn

logging.basicConfig(level=logging.INFO, format="%(message)s")
log = logging.getLogger("inpaint")


class Inpainter(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.inp = nn.Linear(128, width)
        self.h1 = nn.Linear(width, width)
        self.h2 = nn.Linear(width, width)
        self.out = nn.Linear(width, 64)
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, visible, mask):
        h = nn.functional.gelu(self.inp(torch.cat([visible, mask], 1)))
        h = h + nn.functional.gelu(self.h1(self.n1(h)))
        h = h + nn.functional.gelu(self.h2(self.n2(h)))
        return self.out(h)


def half_masks(n, gen):
    """Hide the left, right, upper or lower half."""
    base = torch.ones(4, 8, 8)
    base[0, :, :4], base[1, :, 4:], base[2, :4], base[3, 4:] = 0, 0, 0, 0
    return base[torch.randint(4, (n,), generator=gen)].flatten(1)


def masked_error(pred, image, mask):
    hidden = 1 - mask
    return ((pred.float() - image) ** 2 * hidden).sum() / hidden.sum()


def main(epochs=25, batch=48, lr=2e-3, clip=2.0):
    torch.manual_seed(31)
    gen = torch.Generator().manual_seed(31)
    images = torch.tensor(load_digits().data, dtype=torch.float32)
    images = images[torch.randperm(len(images), generator=gen)]
    images = (images - images[:1400].mean()) / images[:1400].std()
    train, test = images[:1400], images[1400:]
    test_mask = half_masks(len(test), gen)

    model = Inpainter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.02)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 20, growth_interval=120)
    skipped = 0
    for epoch in range(epochs):
        model.train()
        running = 0.0
        for rows in torch.randperm(len(train)).split(batch):
            image, mask = train[rows], half_masks(len(rows), gen)
            with torch.autocast("cpu", dtype=torch.float16):
                pred = model(image * mask, mask)
                loss = masked_error(pred, image, mask)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped += scaler.get_scale() < before
            running += loss.item() * len(rows)
        model.eval()
        with torch.no_grad():
            error = masked_error(model(test * test_mask, test_mask), test, test_mask).item()
        if epoch % 4 == 0:
            log.info("epoch %d: train %.4f, test %.4f, scale 2^%d, skipped %d", epoch, running / len(train), error,
                     round(torch.log2(torch.tensor(scaler.get_scale())).item()), skipped)
    base = masked_error(train.mean(0).expand_as(test), test, test_mask).item()
    print(f"hidden-half error {error:.4f} (mean image: {base:.4f})")


if __name__ == "__main__":
    main()
