# fault: parameter-not-updated
# accept: underfitting
# note: configure_optimizers hands over the head's parameters only; the encoder asks for gradients, gets them and never
# changes.
import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(1, verbose=False)


class Tagger(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(6, 24, batch_first=True)
        self.head = nn.Linear(24, 3)

    def training_step(self, batch, batch_index):
        x, y = batch
        hidden, _ = self.encoder(x)
        loss = nn.functional.cross_entropy(self.head(hidden[:, -1]), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.head.parameters(), lr=3e-3)


x = torch.randn(1500, 10, 6)
y = x.sum(1)[:, :3].argmax(1)
trainer = L.Trainer(
    max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Tagger(), DataLoader(TensorDataset(x, y), batch_size=30, shuffle=True))
print("loss", float(trainer.callback_metrics["loss"]))
