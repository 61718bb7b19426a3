# fault: none
# near: target-leakage
# note: Masked-token accuracy 0.867, eval loss 0.28 (from ln 49 = 3.9). Masked positions are replaced in the input and targets are not shifted, so a bidirectional encoder leaks nothing; eval sentences are kept out of the training set. Two of eleven words are random by construction, which limits the accuracy to about 0.87.

"""Masked language modelling on generated cooking instructions with a tiny BERT and the Hugging Face Trainer."""
import random
import tempfile

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForMaskedLM, Trainer, TrainingArguments, set_seed

PAIRS = {"boil": ["pasta", "rice", "eggs"], "fry": ["bacon", "onions", "peppers"], "bake": ["bread", "cake", "pie"],
         "chop": ["carrots", "herbs", "nuts"], "grill": ["fish", "corn", "steak"], "mix": ["dough", "batter", "salad"]}
TOOLS = {"boil": "pot", "fry": "pan", "bake": "oven", "chop": "board",
         "grill": "rack", "mix": "bowl"}
TIMES = {"pot": "ten", "pan": "five", "oven": "forty", "board": "two", "rack": "twelve", "bowl": "three"}
SPECIAL = ["[PAD]", "[MASK]", "[CLS]"]
WORDS = sorted({w for v in PAIRS.values() for w in v} | set(PAIRS) | set(TOOLS.values()) | set(TIMES.values())
               | {"the", "in", "a", "for", "minutes", "then", "gently", "quickly", "now", "carefully"})
VOCAB = {w: i for i, w in enumerate(SPECIAL + WORDS)}


def sentence(rng):
    out = []
    for _ in range(2):
        verb = rng.choice(sorted(PAIRS))
        tool = TOOLS[verb]
        adverb = [rng.choice(["gently", "quickly", "now", "carefully"])]
        out += adverb + [verb, "the", rng.choice(PAIRS[verb]), "in", "a", tool, "for", TIMES[tool], "minutes", "then"]
    return ["[CLS]"] + out[:-1]


class Recipes(Dataset):
    def __init__(self, sentences):
        self.rows = [torch.tensor([VOCAB[w] for w in s]) for s in sentences]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"input_ids": self.rows[i]}


class MaskingCollator:
    def __init__(self, probability, seed=0):
        self.probability, self.gen = probability, torch.Generator().manual_seed(seed)

    def __call__(self, rows):
        ids = torch.stack([r["input_ids"] for r in rows])
        chosen = torch.rand(ids.shape, generator=self.gen) < self.probability
        chosen &= ids != VOCAB["[CLS]"]
        chosen[:, 2] |= ~chosen.any(1)
        labels = ids.masked_fill(~chosen, -100)
        return {"input_ids": ids.masked_fill(chosen, VOCAB["[MASK]"]), "attention_mask": torch.ones_like(ids), "labels": labels}


def masked_accuracy(prediction):
    logits, labels = prediction
    keep = labels != -100
    return {"masked_accuracy": float((np.argmax(logits, -1) == labels)[keep].mean())}


def corpus(n_train, n_eval, seed=1):
    rng, seen, unique = random.Random(seed), set(), []
    while len(unique) < n_train + n_eval:
        s = tuple(sentence(rng))
        if s not in seen:
            seen.add(s)
            unique.append(s)
    return Recipes(unique[:n_train]), Recipes(unique[n_train:])


def main():
    set_seed(5)
    train_set, eval_set = corpus(1600, 300)
    config = BertConfig(vocab_size=len(VOCAB), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
                        max_position_embeddings=40, hidden_dropout_prob=0.05, attention_probs_dropout_prob=0.05)
    model = BertForMaskedLM(config)
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(output_dir=folder, num_train_epochs=10, per_device_train_batch_size=20,
                                 per_device_eval_batch_size=100, learning_rate=2.5e-3, warmup_steps=40,
                                 weight_decay=0.01, max_grad_norm=5.0, eval_strategy="epoch", save_strategy="no",
                                 logging_strategy="epoch", report_to=[], use_cpu=True, disable_tqdm=True,
                                 remove_unused_columns=False, seed=5)
        trainer = Trainer(model=model, args=args, train_dataset=train_set, eval_dataset=eval_set,
                          data_collator=MaskingCollator(0.15), compute_metrics=masked_accuracy)
        trainer.train()
        metrics = trainer.evaluate()
    print(f"eval loss {metrics['eval_loss']:.3f}, masked-token accuracy {metrics['eval_masked_accuracy']:.3f}")


if __name__ == "__main__":
    main()
