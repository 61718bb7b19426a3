# fault: none
# near: parameter-not-updated
# note: Lightning with a frozen random projection, two losses and a cosine schedule per step; everything that asks for
# gradients is in the optimizer.
import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(3, verbose=False)


class TwoHeads(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.projection = nn.Linear(10, 64).requires_grad_(False)
        self.body = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        self.kind, self.size = nn.Linear(32, 3), nn.Linear(32, 1)

    def forward(self, x):
        hidden = self.body(torch.tanh(self.projection(x)))
        return self.kind(hidden), self.size(hidden).squeeze(1)

    def training_step(self, batch, batch_index):
        x, kind, size = batch
        logits, guess = self(x)
        return nn.functional.cross_entropy(logits, kind) + nn.functional.mse_loss(guess, size)

    def validation_step(self, batch, batch_index):
        x, kind, size = batch
        logits, guess = self(x)
        self.log("accuracy", (logits.argmax(1) == kind).float().mean())
        self.log("error", nn.functional.mse_loss(guess, size))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW((p for p in self.parameters() if p.requires_grad), lr=3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


x = torch.randn(2000, 10)
kind, size = (x @ torch.randn(10, 3)).argmax(1), x[:, 0] - 0.5 * x[:, 1]
train = DataLoader(TensorDataset(x[:1600], kind[:1600], size[:1600]), batch_size=32, shuffle=True)
valid = DataLoader(TensorDataset(x[1600:], kind[1600:], size[1600:]), batch_size=100)
trainer = L.Trainer(
    max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(TwoHeads(), train, valid)
print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})
