"""What is asked, told from shapes, types and values; and what is left open."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diagnose.errors import MistakesError
from diagnose.mistakes._losses import hint_of
from diagnose.mistakes._plan import plan_of

G = torch.Generator().manual_seed(0)
N = 40


def logits(*shape: int) -> Tensor:
    return 3 * torch.randn(shape, generator=G)


def labels(*shape: int, classes: int = 3) -> Tensor:
    return torch.randint(classes, shape, generator=G)


def shares(*shape: int) -> Tensor:
    return torch.rand(shape, generator=G)


TASKS: dict[str, tuple[Tensor, Tensor, str, str, str]] = {
    "classes": (logits(N, 3), labels(N), "classification", "logits", "many"),
    "column of classes": (logits(N, 3), labels(N, 1), "classification", "logits", "many"),
    "probabilities": (logits(N, 3).softmax(1), labels(N), "classification", "probabilities", "many"),
    "one logit": (logits(N, 1), labels(N, classes=2), "classification", "logits", "one"),
    "one probability": (shares(N), labels(N, classes=2).float(), "classification", "probabilities", "one"),
    "one hot": (logits(N, 3), F.one_hot(labels(N), 3), "classification", "logits", "many"),
    "labels": (logits(N, 5), labels(N, 5, classes=2), "multilabel", "logits", "one"),
    "probable labels": (shares(N, 5), labels(N, 5, classes=2).float(), "multilabel", "probabilities", "one"),
    "values": (logits(N, 1), logits(N), "regression", "values", "one"),
    "several values": (logits(N, 4), logits(N, 4), "regression", "values", "one"),
    "whole amounts": (logits(N, 1), labels(N, classes=90), "regression", "values", "one"),
    "tokens": (logits(N, 7, 3), labels(N, 7), "tokens", "logits", "many"),
    "tokens, classes second": (logits(N, 3, 7), labels(N, 7), "tokens", "logits", "many"),
    "pixels": (logits(6, 3, 8, 9), labels(6, 8, 9), "segmentation", "logits", "many"),
    "pixels with a channel": (logits(6, 3, 8, 9), labels(6, 1, 8, 9), "segmentation", "logits", "many"),
    "one logit per pixel": (logits(6, 1, 8, 9), labels(6, 1, 8, 9, classes=2).float(), "segmentation", "logits", "one"),
    "an image as the target": (logits(6, 3, 8, 9), logits(6, 3, 8, 9), "regression", "values", "one"),
    "voxels": (logits(3, 2, 4, 5, 6), labels(3, 4, 5, 6, classes=2), "segmentation", "logits", "many"),
}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_asked(name: str) -> None:
    outputs, targets, task, kind, per_place = TASKS[name]
    plan = plan_of(outputs, targets)
    assert (plan.task, plan.outputs, plan.per_place) == (task, kind, per_place)


OPEN: dict[str, tuple[Tensor, Tensor, str]] = {
    "classes anywhere": (logits(N, 5, 5), labels(N, 5), "second or in the last dimension"),
    "signs": (logits(N), labels(N, classes=2) * 2 - 1, "-1 and 1 may be classes or amounts"),
    "soft rows": (logits(N, 3), logits(N, 3).softmax(1), "sum to 1 may be probabilities"),
    "few rows with a single 1": (logits(4, 3), F.one_hot(labels(4), 3), "may be classes, or labels that exclude none"),
    "squashed outputs": (shares(N, 3), labels(N), "may be logits"),
    "few squashed outputs": (shares(5), labels(5, classes=2), "too few to tell"),
    "no fit": (logits(N, 3), labels(N, 4), r"\(40, 3\) and targets of shape \(40, 4\)"),
    "other lengths": (logits(N, 3), labels(N + 1), "one row for each example"),
    "whole outputs": (labels(N, 3), labels(N), "outputs are torch.int64"),
}


@pytest.mark.parametrize("name", OPEN)
def test_what_is_open_is_asked_about(name: str) -> None:
    outputs, targets, message = OPEN[name]
    with pytest.raises(MistakesError, match=message):
        plan_of(outputs, targets)


def test_the_caller_decides() -> None:
    binary = labels(N, 4, classes=2)
    assert plan_of(logits(N, 4), binary, task="tokens").task == "tokens"
    assert plan_of(logits(N, 4), binary.float(), task="regression").task == "regression"
    assert plan_of(logits(N, 3).softmax(1), labels(N), kind="logits").outputs == "logits"
    assert plan_of(logits(4, 3), F.one_hot(labels(4), 3), task="multilabel").task == "multilabel"
    with pytest.raises(MistakesError, match="do not fit task='classification'"):
        plan_of(logits(N, 4), binary, task="classification")
    with pytest.raises(MistakesError, match="a regression needs one output for each target"):
        plan_of(logits(N, 4), labels(N), task="regression")


@pytest.mark.parametrize(
    ("loss_fn", "outputs", "targets", "task", "kind"),
    [
        (nn.BCELoss(), shares(5), labels(5, classes=2).float(), "classification", "probabilities"),
        (nn.BCEWithLogitsLoss(), shares(5, 2), labels(5, 2, classes=2).float(), "multilabel", "logits"),
        (nn.MSELoss(), logits(N, 3), F.one_hot(labels(N), 3).float(), "regression", "values"),
        (F.cross_entropy, logits(N, 5, 5), labels(N, 5), "tokens", "logits"),
        (nn.CrossEntropyLoss(), logits(N, 3), logits(N, 3).softmax(1), "classification", "logits"),
        (nn.CrossEntropyLoss(), logits(N, 3).softmax(1), labels(N), "classification", "probabilities"),
        (nn.NLLLoss(), logits(N, 3).log_softmax(1), labels(N), "classification", "logits"),
    ],
)
def test_the_loss_function_decides(loss_fn: Any, outputs: Tensor, targets: Tensor, task: str, kind: str) -> None:
    plan = plan_of(outputs, targets, hint=hint_of(loss_fn))
    assert (plan.task, plan.outputs) == (task, kind)


def test_which_targets_do_not_count() -> None:
    assert plan_of(logits(N, 3), labels(N)).ignore_index == -100
    hint = hint_of(nn.CrossEntropyLoss(ignore_index=255))
    assert plan_of(logits(N, 3), labels(N), hint=hint).ignore_index == 255
    assert plan_of(logits(N, 3), labels(N), hint=hint, ignore_index=0).ignore_index == 0


def test_next_tokens_are_a_language_model() -> None:
    tokens = labels(N, 9, classes=6)
    ahead = plan_of(logits(N, 8, 6), tokens[:, 1:], tokens=tokens[:, :-1])
    assert ahead.task == "language-model" and not ahead.shifted
    padded = tokens[:, 1:].clone()
    padded[:, 5:] = -100
    assert plan_of(logits(N, 8, 6), padded, tokens=tokens[:, :-1]).task == "language-model"
    following = 5 * F.one_hot(tokens.roll(-1, 1), 6).float()
    assert plan_of(following, tokens, tokens=tokens).shifted
    # One that repeats its input is none.
    assert plan_of(5 * F.one_hot(tokens, 6).float(), tokens, tokens=tokens).task == "tokens"
