# fault: lr-zero
# note: PolynomialLR counts total_iters = max_epochs = 10 but Lightning steps it per batch: the rate is 0 from batch 10 of 470 on. Validation loss 0.686, F1 0.279; with interval epoch 0.499, 0.620.

import logging
import warnings

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import make_multilabel_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MultilabelF1Score

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


class TagData(L.LightningDataModule):
    def __init__(self, batch_size=64):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage=None):
        X, Y = make_multilabel_classification(n_samples=4000, n_features=40, n_classes=8, n_labels=3,
                                              length=60, random_state=0)
        X = torch.tensor(X, dtype=torch.float32)
        Y = torch.tensor(Y, dtype=torch.float32)
        mean, std = X[:3000].mean(0), X[:3000].std(0)
        X = (X - mean) / std
        self.train_set = TensorDataset(X[:3000], Y[:3000])
        self.val_set = TensorDataset(X[3000:], Y[3000:])

    def train_dataloader(self):
        return DataLoader(self.train_set, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, 500)


class Tagger(L.LightningModule):
    def __init__(self, n_in=40, n_tags=8, lr=0.05, max_epochs=10):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(n_in, 64), nn.LayerNorm(64), nn.SiLU(),
                                 nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, n_tags))
        self.f1 = MultilabelF1Score(num_labels=n_tags)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        x, y = batch
        loss = F.binary_cross_entropy_with_logits(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        logits = self(x)
        self.f1.update(logits.sigmoid(), y.int())
        self.log("val_loss", F.binary_cross_entropy_with_logits(logits, y))

    def on_validation_epoch_end(self):
        self.log("val_f1", self.f1.compute())
        self.f1.reset()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=self.hparams.max_epochs, power=0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def main():
    L.seed_everything(17, verbose=False)
    trainer = L.Trainer(max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False)
    model = Tagger(max_epochs=10)
    trainer.fit(model, datamodule=TagData())
    metrics = trainer.callback_metrics
    print(f"val loss {metrics['val_loss']:.4f}  val macro F1 {metrics['val_f1']:.4f}")


if __name__ == "__main__":
    main()
