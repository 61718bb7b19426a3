# fault: none
# near: gradients-not-cleared
# note: Trainer with gradient accumulation, clipping at 1, warm-up and linear decay, on a model that returns a loss.
import os
import warnings

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, logging
from transformers.modeling_outputs import SequenceClassifierOutput

warnings.filterwarnings("ignore")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
logging.set_verbosity_error()
torch.manual_seed(0)


class Reviews(Dataset):
    def __init__(self, count):
        self.ids = torch.randint(60, (count, 12))
        self.labels = (self.ids < 20).sum(1).gt(3).long()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


class Sentiment(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(60, 32)
        self.drop = nn.Dropout(0.1)
        self.hidden, self.out = nn.Linear(32, 32), nn.Linear(32, 2)

    def forward(self, input_ids, labels=None):
        logits = self.out(self.drop(torch.relu(self.hidden(self.embed(input_ids).mean(1)))))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


arguments = TrainingArguments(
    output_dir="out", num_train_epochs=5, per_device_train_batch_size=16, gradient_accumulation_steps=2,
    learning_rate=5e-3, warmup_steps=20, report_to=[], save_strategy="no", eval_strategy="epoch", logging_steps=50,
    disable_tqdm=True, use_cpu=True,
)
trainer = Trainer(model=Sentiment(), args=arguments, train_dataset=Reviews(1600), eval_dataset=Reviews(300))
trainer.train()
print("evaluation loss", trainer.evaluate()["eval_loss"])
