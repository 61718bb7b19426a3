# fault: update-too-small
# accept: lr-zero, loss-not-decreasing, underfitting
# note: The learning rate of 5e-9 is a slip of the exponent (5e-3 learns the task): after the training the loss is
# where it was.
import os
import warnings
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, logging
from transformers.modeling_outputs import SequenceClassifierOutput

warnings.filterwarnings("ignore")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
logging.set_verbosity_error()
torch.manual_seed(0)


@dataclass
class Reviews(Dataset):
    count: int

    def __post_init__(self):
        self.ids = torch.randint(60, (self.count, 12))
        self.labels = (self.ids < 20).sum(1).gt(3).long()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


class Sentiment(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(60, 32)
        self.hidden, self.out = nn.Linear(32, 32), nn.Linear(32, 2)

    def forward(self, input_ids, labels=None):
        logits = self.out(torch.relu(self.hidden(self.embed(input_ids).mean(1))))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


arguments = TrainingArguments(
    output_dir="out", num_train_epochs=4, per_device_train_batch_size=32, learning_rate=5e-9, lr_scheduler_type="constant",
    report_to=[], save_strategy="no", logging_steps=50, disable_tqdm=True, use_cpu=True,
)
trainer = Trainer(model=Sentiment(), args=arguments, train_dataset=Reviews(1600), eval_dataset=Reviews(300))
trainer.train()
print("evaluation loss", trainer.evaluate()["eval_loss"])
