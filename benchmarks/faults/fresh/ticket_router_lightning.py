# fault: double-softmax
# note: The head ends in nn.Softmax and its output goes to nn.CrossEntropyLoss. Validation accuracy 0.267 (loss 3.88) with the fault, 0.933 (loss 0.27) without the Softmax.

"""Ticket routing: bag of words -> one of 60 queues. PyTorch Lightning."""
import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

warnings.filterwarnings("ignore")
for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class TicketData(L.LightningDataModule):
    def __init__(self, vocab=400, queues=60, n=6000, words=30, batch_size=64):
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage=None):
        h = self.hparams
        g = torch.Generator().manual_seed(99)
        background = torch.rand(h.vocab, generator=g) ** 4
        topics = torch.zeros(h.queues, h.vocab)
        for q in range(h.queues):
            topics[q, torch.randperm(h.vocab, generator=g)[:25]] = 1.0
        y = torch.randint(h.queues, (h.n,), generator=g)
        p = 0.7 * background / background.sum() + 0.3 * topics[y] / topics[y].sum(1, keepdim=True)
        tokens = torch.multinomial(p, h.words, replacement=True, generator=g)
        counts = torch.zeros(h.n, h.vocab).scatter_add_(1, tokens, torch.ones(tokens.shape))
        x = torch.log1p(counts)
        x = x / x.std()
        cut = int(0.8 * h.n)
        self.train_set = TensorDataset(x[:cut], y[:cut])
        self.val_set = TensorDataset(x[cut:], y[cut:])

    def train_dataloader(self):
        return DataLoader(self.train_set, self.hparams.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, 256)


class Router(L.LightningModule):
    def __init__(self, vocab, queues, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Linear(vocab, 128), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Sequential(nn.Linear(128, queues), nn.Softmax(dim=-1))
        self.loss = nn.CrossEntropyLoss()
        self.val_acc = MulticlassAccuracy(queues, average="micro")

    def forward(self, x):
        return self.head(self.encoder(x))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss(self(x), y)
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        out = self(x)
        self.val_acc(out, y)
        self.log("val_loss", self.loss(out, y))
        self.log("val_acc", self.val_acc)

    def on_validation_epoch_end(self):
        m = self.trainer.callback_metrics
        if "train_loss" in m:
            print(f"epoch {self.current_epoch}: train {m['train_loss']:.3f}")

    def configure_optimizers(self):
        opt = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        return {"optimizer": opt, "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=self.trainer.max_epochs)}


def main():
    L.seed_everything(21, verbose=False)
    data = TicketData()
    model = Router(400, 60)
    trainer = L.Trainer(max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(model, data)
    print(f"validation accuracy: {trainer.callback_metrics['val_acc']:.3f}  loss: {trainer.callback_metrics['val_loss']:.3f}")


if __name__ == "__main__":
    main()
