# fault: double-softmax
# note: forward returns softmax probabilities and training_step gives them to cross_entropy.
import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(7, verbose=False)


class FlowerClassifier(L.LightningModule):
    def __init__(self, classes=5):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 48), nn.GELU(), nn.Linear(48, classes))

    def forward(self, x):
        return self.net(x).softmax(dim=-1)

    def training_step(self, batch, batch_index):
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def validation_step(self, batch, batch_index):
        x, y = batch
        self.log("accuracy", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


x = torch.randn(1600, 12)
y = (x @ torch.randn(12, 5)).argmax(1)
train = DataLoader(TensorDataset(x[:1280], y[:1280]), batch_size=32, shuffle=True)
valid = DataLoader(TensorDataset(x[1280:], y[1280:]), batch_size=64)
trainer = L.Trainer(
    max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(FlowerClassifier(), train, valid)
print("accuracy", float(trainer.callback_metrics["accuracy"]))
