# fault: none
# near: target-leakage
# note: masked-token accuracy 0.846 (0.15 after the first epoch). A bidirectional encoder with masked, unshifted targets (-100 elsewhere); decoder tied by the library; lr decays to 0 at the end.

"""Masked-token pre-training of a very small BERT on a synthetic grammar with the Hugging Face Trainer."""
import os
import random
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForMaskedLM, Trainer, TrainingArguments, set_seed

PAD, CLS, SEP, MASK, FIRST = 0, 1, 2, 3, 4
N_WORDS, LENGTH = 24, 18
VOCAB = FIRST + N_WORDS
FOLLOWERS = list(zip(random.Random(1).sample(range(N_WORDS), N_WORDS), random.Random(2).sample(range(N_WORDS), N_WORDS)))


def sentence(rng):
    """every word may be followed by either of two others"""
    words = [rng.randrange(N_WORDS)]
    while len(words) < LENGTH - 2:
        words.append(rng.choice(FOLLOWERS[words[-1]]))
    return [CLS] + [FIRST + w for w in words] + [SEP]


class MaskedSentences(Dataset):
    def __init__(self, n, seed, p=0.2):
        rng = random.Random(seed)
        self.rows = [sentence(rng) for _ in range(n)]
        self.p = p
        self.static = [self.corrupt(r, rng) for r in self.rows] if seed else None
        self.rng = random.Random(12345)

    def corrupt(self, row, rng):
        ids, labels = list(row), [-100] * len(row)
        for i in range(1, len(row) - 1):
            if rng.random() < self.p:
                labels[i] = row[i]
                u = rng.random()
                if u < 0.8:
                    ids[i] = MASK
                elif u < 0.9:
                    ids[i] = FIRST + rng.randrange(N_WORDS)
        if all(l == -100 for l in labels):
            k = rng.randrange(1, len(row) - 1)
            ids[k], labels[k] = MASK, row[k]
        return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels), "attention_mask": torch.ones(len(ids), dtype=torch.long)}

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.static[i] if self.static else self.corrupt(self.rows[i], self.rng)


def masked_accuracy(pred):
    logits, labels = pred
    keep = labels != -100
    return {"masked_acc": float((logits.argmax(-1)[keep] == labels[keep]).mean())}


def main():
    set_seed(4)
    config = BertConfig(vocab_size=VOCAB, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
                        max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForMaskedLM(config)
    with tempfile.TemporaryDirectory() as out:
        args = TrainingArguments(output_dir=out, per_device_train_batch_size=64, per_device_eval_batch_size=128, num_train_epochs=10,
                                 learning_rate=2e-3, warmup_steps=50, lr_scheduler_type="linear", weight_decay=0.01,
                                 eval_strategy="epoch", save_strategy="no", logging_strategy="epoch", report_to=[],
                                 disable_tqdm=True, use_cpu=True, seed=4)
        trainer = Trainer(model=model, args=args, train_dataset=MaskedSentences(4000, 0), eval_dataset=MaskedSentences(512, 9),
                          compute_metrics=masked_accuracy)
        trainer.train()
        result = trainer.evaluate()
    print("masked-token accuracy: %.3f" % result["eval_masked_acc"])


if __name__ == "__main__":
    main()
