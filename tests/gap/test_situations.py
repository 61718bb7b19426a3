"""Situations whose truth is known, told in numbers: the verdict, the first advice, and what must not be said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from diagnose.gap import CODES, VERDICTS, diagnose_gap

EPOCHS = np.arange(20)
SETTLED = (0.6 + 1.7 * np.exp(-EPOCHS / 2.0)).tolist()
STRAIGHT = (2.3 - 0.02 * EPOCHS).tolist()
SLOWING = (0.3 + 2.0 / (1 + EPOCHS / 3)).tolist()
JUMPING = [2.3, 0.9, 0.7, 1.1, 0.6, 0.9, 0.7, 1.2, 0.6, 1.0, 0.7, 1.1]
BROKEN = [2.3, 1.5, 0.9, float("nan"), float("nan")]
RISING = [2.3, 1.2, 0.8, 0.7, 0.9, 1.2, 1.5, 1.9]
FLAT = [2.302, 2.303, 2.301, 2.303, 2.302, 2.303, 2.302, 2.301]
TURNED = [0.4, 0.2, 0.12, 0.10, 0.10, 0.11, 0.13, 0.15, 0.16, 0.17]

UNDER = {"train_error": 0.14, "test_error": 0.15, "target_error": 0.05, "n_train": 5_000, "n_test": 1_000}
OVER = {"train_error": 0.002, "test_error": 0.12, "target_error": 0.05, "n_train": 500, "n_test": 1_000}
GAP_ADVICE = frozenset({"more-data", "more-regularization"})
CAPACITY = frozenset({"more-capacity", "less-dropout", "less-weight-decay"})


@dataclass
class Case:
    """What is told, the verdict, the codes of which the first has to be one, those that are forbidden."""

    told: dict[str, Any]
    verdict: str
    first: tuple[str, ...] = ()
    forbidden: frozenset[str] = field(default_factory=frozenset)
    names: str | None = None


def under(**more: Any) -> dict[str, Any]:
    return {**UNDER, **more}


def over(**more: Any) -> dict[str, Any]:
    return {**OVER, **more}


CASES = {
    "nothing but errors": Case(under(), "underfitting", ("more-capacity",), GAP_ADVICE),
    "narrow": Case(
        under(hyperparameters={"hid": 4, "lr": 1e-3}), "underfitting", ("more-capacity",), GAP_ADVICE, "hid"
    ),
    "narrowest of two": Case(
        under(hyperparameters={"l1": 120, "l2": 6, "lr": 1e-3}), "underfitting", ("more-capacity",), GAP_ADVICE, "l2"
    ),
    "kernel of one": Case(
        under(hyperparameters={"channels": 32, "k": 1, "lr": 1e-3}, curves={"train_loss": SETTLED}),
        "underfitting",
        ("more-capacity",),
        GAP_ADVICE,
        "k",
    ),
    "no padding in a deep stack": Case(
        under(hyperparameters={"channels": 64, "kernel_size": 3, "pad": 0, "layers": 5}),
        "underfitting",
        ("more-capacity",),
        GAP_ADVICE,
        "pad",
    ),
    "no hidden layer": Case(
        under(hyperparameters={"n_layers": 0, "lr": 1e-3}), "underfitting", ("more-capacity",), GAP_ADVICE, "n_layers"
    ),
    "dropout of .9": Case(
        under(hyperparameters={"p_drop": 0.9, "hidden": 256}), "underfitting", ("less-dropout",), GAP_ADVICE, "p_drop"
    ),
    "hardly anything is kept": Case(
        under(hyperparameters={"keep_prob": 0.1, "hidden": 256}),
        "underfitting",
        ("less-dropout",),
        GAP_ADVICE,
        "keep_prob",
    ),
    "dropout that the curves show": Case(
        under(
            hyperparameters={"dropout": 0.6, "hidden": 128},
            curves={"train_loss": SETTLED, "val_loss": [x / 2 for x in SETTLED]},
        ),
        "underfitting",
        ("less-dropout",),
        GAP_ADVICE,
    ),
    "weight decay of .3": Case(
        under(hyperparameters={"wd": 0.3, "hidden": 128, "optimizer": "adam"}, curves={"train_loss": SETTLED}),
        "underfitting",
        ("less-weight-decay",),
        GAP_ADVICE,
        "wd",
    ),
    "so much decay that the loss stays where it began": Case(
        under(
            hyperparameters={"adamw_wd": 10.0, "hidden": 64, "lr": 0.01},
            curves={"train_loss": (1.0 - 0.002 * EPOCHS).tolist()},
        ),
        "underfitting",
        ("less-weight-decay",),
        GAP_ADVICE,
        "adamw_wd",
    ),
    "no more dropout than there can be": Case(
        over(hyperparameters={"drop_rate": 0.85, "hidden": 24}),
        "overfitting",
        ("more-data",),
        CAPACITY | {"more-regularization"},
    ),
    "the default decay of AdamW is not the cause": Case(
        under(hyperparameters={"wd": 0.01, "hidden": 8, "lr": 1e-3, "optimizer": "AdamW"}),
        "underfitting",
        ("more-capacity",),
        GAP_ADVICE,
    ),
    "learning rate far too low": Case(
        under(hyperparameters={"lr": 1e-6, "hidden": 128}, curves={"train_loss": STRAIGHT}),
        "optimization-failure",
        ("higher-lr",),
        GAP_ADVICE,
        "lr",
    ),
    "cut short": Case(
        under(hyperparameters={"lr": 1e-3, "hidden": 128, "epochs": 20}, curves={"train_loss": SLOWING}),
        "optimization-failure",
        ("better-optimization", "higher-lr"),
        GAP_ADVICE,
    ),
    "two epochs": Case(
        under(hyperparameters={"lr": 1e-3, "epochs": 2}), "optimization-failure", ("better-optimization",), GAP_ADVICE
    ),
    "jumping": Case(
        under(hyperparameters={"lr": 0.05}, curves={"train_loss": JUMPING}),
        "optimization-failure",
        ("lower-lr",),
        GAP_ADVICE,
    ),
    "diverged": Case(
        under(hyperparameters={"eta": 0.3}, curves={"train_loss": BROKEN}),
        "optimization-failure",
        ("lower-lr",),
        GAP_ADVICE,
        "eta",
    ),
    "diverged, and no error is known": Case(
        {"curves": {"train_loss": BROKEN}}, "optimization-failure", ("lower-lr",), GAP_ADVICE
    ),
    "rising": Case(under(curves={"train_loss": RISING}), "optimization-failure", ("lower-lr",), GAP_ADVICE),
    "dead at a high rate": Case(
        under(hyperparameters={"lr": 3.0, "optimizer": "sgd"}, curves={"train_loss": FLAT}),
        "optimization-failure",
        ("lower-lr",),
        GAP_ADVICE,
    ),
    "asleep at a low rate": Case(
        under(hyperparameters={"lr": 1e-7, "optimizer": "Adam"}, curves={"train_loss": FLAT}),
        "optimization-failure",
        ("higher-lr",),
        GAP_ADVICE,
    ),
    "wrong labels": Case(under(suspects=0.09), "data-quality", ("fix-labels",), GAP_ADVICE),
    "suspect labels within their noise": Case(
        under(suspects=0.055, n_train=60), "underfitting", ("more-capacity",), GAP_ADVICE | {"fix-labels"}
    ),
    "a kernel of one, in other words": Case(
        under(hyperparameters={"nb_filter": 16, "conv_size": 1, "lr": 0.01}, curves={"train_loss": STRAIGHT}),
        "underfitting",
        ("more-capacity",),
        GAP_ADVICE | {"higher-lr"},
        "conv_size",
    ),
    "a narrow layer explains a slow fall": Case(
        under(hyperparameters={"hidden": 4, "lr": 0.01, "epochs": 20}, curves={"train_loss": SLOWING}),
        "underfitting",
        ("more-capacity",),
        GAP_ADVICE | {"higher-lr"},
    ),
    "no higher rate than an optimizer takes": Case(
        under(
            hyperparameters={"hidden": 128, "lr": 5e-3, "optimizer": "Adam", "epochs": 20},
            curves={"train_loss": (0.3 + 2.0 / (1 + EPOCHS / 6)).tolist()},
        ),
        "optimization-failure",
        ("better-optimization",),
        GAP_ADVICE | {"higher-lr"},
    ),
    "a few ambiguous labels": Case(under(suspects=0.01), "underfitting", ("more-capacity",), GAP_ADVICE),
    "large, tuned, settled": Case(
        under(hyperparameters={"hidden": 1024, "lr": 1e-3, "dropout": 0.0}, curves={"train_loss": SETTLED}),
        "optimization-failure",
        ("better-optimization", "fix-labels"),
        GAP_ADVICE,
    ),
    "unregularised": Case(
        over(hyperparameters={"dropout": 0.0, "hidden": 256}),
        "overfitting",
        ("more-regularization", "more-data"),
        CAPACITY,
    ),
    "regularised already": Case(
        over(hyperparameters={"dropout": 0.5, "wd": 1e-3}), "overfitting", ("more-data",), CAPACITY
    ),
    "the learning curve falls": Case(
        over(learning_curve={125: 0.3, 250: 0.2, 500: 0.12}), "overfitting", ("more-data",), CAPACITY
    ),
    "the learning curve is flat": Case(
        over(learning_curve={125: 0.125, 250: 0.121, 500: 0.12}),
        "overfitting",
        ("more-regularization",),
        CAPACITY,
    ),
    "the test error has turned": Case(
        over(curves={"val_error": [*TURNED, 0.17]}, test_error=0.17), "overfitting", ("more-regularization",), CAPACITY
    ),
    "a rare class": Case(
        over(
            class_table={
                "a": {"recall": 0.95, "n": 450},
                "b": {"recall": 0.93, "n": 450},
                "c": {"recall": 0.3, "n": 60},
            }
        ),
        "overfitting",
        ("rebalance",),
        CAPACITY | {"less-capacity", "more-regularization"},
    ),
    "training examples that are not learned": Case(
        over(train_error=0.04, test_error=0.2), "overfitting", ("more-data",), CAPACITY | {"less-capacity"}
    ),
    "labels learned by heart": Case(over(suspects=0.08), "data-quality", ("fix-labels",), CAPACITY),
    "a gap within its noise": Case(
        {**OVER, "train_error": 0.04, "test_error": 0.07, "n_test": 60}, "cannot-tell", (), frozenset(CODES)
    ),
    "the target is met": Case(over(test_error=0.02), "target-met", ("target-met",), frozenset(CODES) - {"target-met"}),
    "the target may be met": Case(over(test_error=0.04, n_test=200), "cannot-tell", (), frozenset(CODES)),
    "far above train-dev": Case(
        over(train_dev_error=0.03, n_train_dev=1_000, test_error=0.25),
        "distribution-mismatch",
        ("check-test-pipeline",),
        frozenset(CODES) - {"check-test-pipeline", "check-save-load"},
    ),
    "far above the validation error": Case(
        over(test_error=0.97, curves={"val_error": [0.5, 0.3, 0.2, 0.14, 0.12]}),
        "distribution-mismatch",
        ("check-test-pipeline",),
        frozenset(CODES) - {"check-test-pipeline", "check-save-load"},
    ),
    "above a small validation set": Case(
        over(test_error=0.2, curves={"val_error": [0.5, 0.3, 0.2, 0.15, 0.125]}),
        "overfitting",
        ("more-data", "more-regularization"),
        CAPACITY,
    ),
    "met, but far better than validation": Case(
        over(test_error=0.01, curves={"val_error": [0.505, 0.3, 0.2, 0.145, 0.12]}),
        "leak",
        ("check-leak",),
        frozenset(CODES) - {"check-leak"},
    ),
    "met, and as good as a small validation set can be": Case(
        over(test_error=0.02, curves={"val_error": [0.5, 0.3, 0.2, 0.1, 0.05]}),
        "target-met",
        ("target-met",),
        frozenset(CODES) - {"target-met"},
    ),
    "train-dev is as bad as test": Case(
        over(train_dev_error=0.115, n_train_dev=1_000), "overfitting", ("more-regularization", "more-data"), CAPACITY
    ),
    "guessing on test": Case(
        over(test_error=0.9, n_classes=10),
        "evaluation-bug",
        ("check-test-pipeline",),
        frozenset(CODES) - {"check-test-pipeline", "check-save-load"},
    ),
    "two classes that are hard to tell": Case(
        over(test_error=0.46, n_classes=2), "overfitting", ("more-data", "more-regularization"), CAPACITY
    ),
    "a train error at the target, and a large gap": Case(
        over(train_error=0.056, test_error=0.3), "overfitting", ("more-data", "more-regularization"), CAPACITY
    ),
    "a train error at the target, and a small gap": Case(
        over(train_error=0.07, test_error=0.11), "cannot-tell", ("better-optimization",), GAP_ADVICE | CAPACITY
    ),
    "better than people": Case(
        over(test_error=0.005, human_error=0.04, n_human=2_000),
        "leak",
        ("check-leak",),
        frozenset(CODES) - {"check-leak"},
    ),
    "it was better at the end of the training": Case(
        {**UNDER, "train_error": 0.3, "curves": {"train_error": [0.5, 0.2, 0.05, 0.02]}},
        "save-load-bug",
        ("check-save-load",),
        frozenset(CODES) - {"check-save-load", "check-test-pipeline"},
    ),
    "no target, the gap is larger": Case(
        {**OVER, "target_error": None}, "overfitting", ("more-regularization", "more-data"), CAPACITY
    ),
    "no target, the train error is larger": Case(
        {**UNDER, "target_error": None}, "underfitting", ("more-capacity",), GAP_ADVICE
    ),
    "people's error stands for the target": Case(
        {**UNDER, "target_error": None, "human_error": 0.02}, "underfitting", ("more-capacity",), GAP_ADVICE
    ),
    "a regression that overfits": Case(
        {"train_error": (0.1, 0.01), "test_error": (1.2, 0.1), "target_error": 0.5},
        "overfitting",
        ("more-regularization", "more-data"),
        CAPACITY,
    ),
    "a regression that underfits": Case(
        {"train_error": (2.1, 0.1), "test_error": (2.2, 0.1), "target_error": 0.5, "hyperparameters": {"hidden": 4}},
        "underfitting",
        ("more-capacity",),
        GAP_ADVICE,
    ),
    "losses alone, in curves": Case(
        {
            "curves": {
                "train_loss": [2.3, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02],
                "val_loss": [2.2, 1.2, 0.8, 0.7, 0.8, 0.95, 1.1],
            }
        },
        "overfitting",
        ("more-data", "more-regularization"),
        CAPACITY,
    ),
    "losses alone have no natural zero": Case(
        {"curves": {"train_loss": SETTLED, "val_loss": [x + 0.02 for x in SETTLED]}}, "cannot-tell", (), GAP_ADVICE
    ),
    "an accuracy in place of an error": Case(
        under(train_error=0.95, test_error=0.93, n_classes=10),
        "evaluation-bug",
        ("check-test-pipeline",),
        frozenset(CODES) - {"check-test-pipeline"},
    ),
    "a train error above the test error, and nothing else": Case(
        under(train_error=0.1, test_error=0.05, target_error=0.04), "cannot-tell", (), frozenset(CODES)
    ),
    "a train error above the test error, without dropout": Case(
        under(train_error=0.1, test_error=0.05, target_error=0.04, hyperparameters={"units": 64, "lr": 1e-3}),
        "data-quality",
        ("fix-labels",),
        GAP_ADVICE,
    ),
    "nothing": Case({}, "cannot-tell", (), frozenset(CODES)),
}


@pytest.mark.parametrize("name", CASES)
def test_situation(name: str) -> None:
    case = CASES[name]
    found = diagnose_gap(**case.told)
    codes = [one.code for one in found.recommendations]
    assert found.verdict == case.verdict, str(found)
    assert not case.first or codes[0] in case.first, str(found)
    assert not case.forbidden & set(codes), str(found)
    if case.names is not None:
        assert found.recommendations[0].hyperparameter == case.names, str(found)


def test_every_verdict_has_a_situation() -> None:
    assert {case.verdict for case in CASES.values()} == set(VERDICTS)


def test_a_suggestion_is_on_the_right_side_of_what_is() -> None:
    for case in CASES.values():
        for one in diagnose_gap(**case.told).recommendations:
            if one.current is None or one.suggested is None:
                continue
            ends = one.suggested if isinstance(one.suggested, tuple) else (one.suggested,)
            keeps = one.hyperparameter == "keep_prob"
            up = one.code in ("more-capacity", "higher-lr", "more-regularization", "more-data", "better-optimization")
            assert all((end > one.current) == (up != keeps) for end in ends), one
