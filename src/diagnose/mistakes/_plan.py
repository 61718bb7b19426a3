"""What is asked of the model, and how its outputs are to be read: told from outputs, targets and the loss function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from diagnose.errors import MistakesError
from diagnose.mistakes._losses import Hint, Outputs
from diagnose.mistakes._scores import TASKS, Task

OUTPUTS: Final = ("logits", "log-probabilities", "probabilities")
IGNORED: Final = -100
"""Of torch.nn.CrossEntropyLoss."""
_SUM_TOLERANCE: Final = 2e-2
"""Of the sum of probabilities in 16 bits; in 32 bits it is 1e-5 at most."""
_ENOUGH: Final = 20
"""Numbers, all between 0 and 1: outputs of a linear layer would have to be so by chance, of either sign as they are."""
_ONE_HOT_ROWS: Final = 2
"""Rows for each class, each with a single 1: labels that do not exclude each other would have to be so by chance."""

_ASKS: Final = f"give task=, one of {', '.join(map(repr, TASKS))}"

Layout = Literal["last", "second"]


@dataclass(frozen=True)
class Plan:
    """How outputs and targets of one data set are read.

    Attributes:
        task: what is asked.
        outputs: what the numbers are.
        per_place: "one" number at a place (a logit, a value), or "many", one for each class.
        layout: which dimension of the outputs counts the classes.
        one_hot: whether targets are rows with a single 1.
        shifted: whether the output at a position is about the target at the next one.
        ignore_index: targets that do not count.
    """

    task: Task
    outputs: Outputs
    per_place: Literal["one", "many"]
    layout: Layout = "last"
    one_hot: bool = False
    shifted: bool = False
    ignore_index: int = IGNORED


def plan_of(
    outputs: Tensor,
    targets: Tensor,
    *,
    tokens: Tensor | None = None,
    hint: Hint | None = None,
    task: Task | None = None,
    kind: str | None = None,
    ignore_index: int | None = None,
) -> Plan:
    """What is asked, from some rows of outputs and targets.

    Args:
        outputs: shape (N, ...), floats.
        targets: shape (N, ...).
        tokens: shape (N, T), what the model was given, if that was tokens.
        hint: what the loss function tells.
        task, kind, ignore_index: what the caller tells; None: found out.

    Raises:
        MistakesError: it cannot be told; the message says between what, and by which argument to say it.
    """
    _check_options(task, kind)
    if ignore_index is None:
        ignore_index = IGNORED if hint is None or hint.ignore_index is None else hint.ignore_index
    if not outputs.is_floating_point() and task != "regression":
        raise MistakesError(
            f"The model's outputs are {outputs.dtype}, so they look like answers, which say nothing about how sure the "
            "model is: let it return logits, probabilities or values (or give predict=), or task='regression'."
        )
    found = _shape_plan(outputs, targets, tokens, hint, task, ignore_index)
    if found.outputs == "values":
        return found
    told = _kind(outputs, found, hint, kind)
    return Plan(**{**vars(found), "outputs": told})


def _check_options(task: Any, kind: Any) -> None:
    if task is not None and task not in TASKS:
        raise MistakesError(f"task is {task!r}, and has to be one of {', '.join(map(repr, get_args(Task)))}.")
    if kind is not None and kind not in OUTPUTS:
        raise MistakesError(f"outputs is {kind!r}, and has to be one of {', '.join(map(repr, OUTPUTS))}.")


# ---------------------------------------------------------------------- the task


def _shape_plan(
    outputs: Tensor, targets: Tensor, tokens: Tensor | None, hint: Hint | None, task: Task | None, ignored: int
) -> Plan:
    if targets.dim() == 0 or outputs.dim() == 0 or outputs.shape[0] != targets.shape[0]:
        raise _misfit(outputs, targets, "they need one row for each example")
    is_values = hint is not None and hint.family == "values"
    if task == "regression" or (task is None and is_values and outputs.numel() == targets.numel()):
        return _regression(outputs, targets)
    many = _class_layout(outputs, targets, hint, task)
    if many is not None and not (targets.is_floating_point() and not _is_binary(targets, ignored)):
        return _many(outputs, targets, tokens, task, ignored, many)
    if outputs.numel() == targets.numel():
        return _alike(outputs, targets, hint, task, ignored)
    if targets.is_floating_point() and many is not None and bool((targets == targets.round()).all()):
        raise _misfit(outputs, targets, "class numbers have to be whole numbers, so make them so with .long()")
    raise _misfit(outputs, targets, "they do not fit together")


def _many(
    outputs: Tensor, targets: Tensor, tokens: Tensor | None, task: Task | None, ignored: int, layout: Layout
) -> Plan:
    """There is an output for each class at each place."""
    places = targets[0].numel()
    if places == 1 and task in (None, "classification"):
        return Plan("classification", "logits", "many", layout, ignore_index=ignored)
    if task in ("multilabel", "classification"):
        raise _misfit(outputs, targets, f"they do not fit task={task!r}")
    if targets.dim() > 2 and task in (None, "segmentation"):
        return Plan("segmentation", "logits", "many", layout, ignore_index=ignored)
    if task == "tokens":
        return Plan("tokens", "logits", "many", layout, ignore_index=ignored)
    if task == "segmentation":
        return Plan("segmentation", "logits", "many", layout, ignore_index=ignored)
    return _sequence(outputs, targets, tokens, task, ignored, layout)


def _sequence(
    outputs: Tensor, targets: Tensor, tokens: Tensor | None, task: Task | None, ignored: int, layout: Layout
) -> Plan:
    """Labels of tokens, or the next tokens, which are the inputs one position on."""
    plain = Plan("tokens", "logits", "many", layout, ignore_index=ignored)
    language = Plan("language-model", "logits", "many", layout, ignore_index=ignored)
    if tokens is None or tokens.shape != targets.shape or targets.shape[1] < 2:
        return language if task == "language-model" else plain
    counts = targets != ignored
    if bool((targets == tokens)[counts].all()) and bool(counts.any()):
        # Targets that are the inputs: of a model that shifts them itself, or of one that repeats its input.
        logits = outputs.transpose(1, -1) if layout == "second" else outputs
        here = _cross_entropy(logits, targets, ignored)
        after = _cross_entropy(logits[:, :-1], targets[:, 1:], ignored)
        if task == "language-model" or after < here:
            return Plan("language-model", "logits", "many", layout, shifted=True, ignore_index=ignored)
        return plain
    ahead = (targets[:, :-1] == tokens[:, 1:]) | ~counts[:, :-1]
    return language if task == "language-model" or bool(ahead.all()) else plain


def _cross_entropy(logits: Tensor, targets: Tensor, ignored: int) -> float:
    counted = targets != ignored
    return float(torch.nn.functional.cross_entropy(logits[counted].float(), targets[counted].long()))


def _alike(outputs: Tensor, targets: Tensor, hint: Hint | None, task: Task | None, ignored: int) -> Plan:
    """There are as many outputs as targets: values, labels, rows with a single 1, or one logit for two classes."""
    binary = _is_binary(targets, ignored)
    places = targets[0].numel()
    if not binary:
        signs = set(targets.unique().tolist()) <= {-1, 1}
        if signs and task is None:
            raise MistakesError(f"Targets of -1 and 1 may be classes or amounts: make classes 0 and 1, or {_ASKS}.")
        soft = (
            targets.dim() == 2
            and places > 1
            and bool((targets >= 0).all())
            and bool(((targets.sum(1) - 1).abs() < 1e-3).all())
        )
        if soft and (task == "classification" or (hint is not None and hint.family == "classes")):
            return Plan("classification", "logits", "many", one_hot=True)
        if soft and task is None:
            raise MistakesError(f"Rows of targets that sum to 1 may be probabilities of classes, or amounts: {_ASKS}.")
        if task is not None:
            raise _misfit(outputs, targets, f"they do not fit task={task!r}: the targets are not 0 and 1")
        return _regression(outputs, targets)
    if places == 1:
        return Plan("classification", "logits", "one", ignore_index=ignored)
    if task == "tokens":
        return Plan("tokens", "logits", "one", ignore_index=ignored)
    if task == "segmentation" or (task is None and targets.dim() > 2):
        return Plan("segmentation", "logits", "one", ignore_index=ignored)
    if task == "multilabel" or (task is None and hint is not None and hint.family == "labels"):
        return Plan("multilabel", "logits", "one", ignore_index=ignored)
    if targets.dim() != 2:
        raise _misfit(outputs, targets, "they leave the task open")
    if bool((targets.sum(1) == 1).all()):
        certain = (hint is not None and hint.family == "classes") or len(targets) >= _ONE_HOT_ROWS * places
        if task == "classification" or certain or _sums_to_one(outputs):
            return Plan("classification", "logits", "many", one_hot=True)
        raise MistakesError(
            f"{len(targets)} rows of targets with a single 1 each may be classes, or labels that exclude none: {_ASKS}."
        )
    if task == "classification":
        raise _misfit(outputs, targets, "they do not fit task='classification': a row has several labels, or none")
    return Plan("multilabel", "logits", "one", ignore_index=ignored)


def _regression(outputs: Tensor, targets: Tensor) -> Plan:
    if outputs.numel() != targets.numel():
        raise _misfit(outputs, targets, "a regression needs one output for each target")
    return Plan("regression", "values", "one")


def _class_layout(outputs: Tensor, targets: Tensor, hint: Hint | None, task: Task | None) -> Layout | None:
    """Which dimension of the outputs counts the classes; None if none does."""
    shape = tuple(targets.shape)
    if len(shape) > 1 and shape[1] == 1 and outputs.dim() in (2, len(shape)) and outputs.shape[1] > 1:
        shape = (shape[0], *shape[2:])  # a column of class numbers, a mask with one channel
    if outputs.dim() != len(shape) + 1:
        return None
    last = tuple(outputs.shape[:-1]) == shape and outputs.shape[-1] > 1
    second = (outputs.shape[0], *outputs.shape[2:]) == shape and outputs.shape[1] > 1
    if last and second and outputs.dim() > 2:
        if len(shape) > 2 or task == "segmentation" or (hint is not None and hint.family == "classes"):
            return "second"  # as torch's own losses have it
        raise MistakesError(
            f"Outputs of shape {tuple(outputs.shape)} may have their classes in the second or in the last dimension: "
            "give loss_fn=torch.nn.functional.cross_entropy for the second; for the last, the same and "
            "predict=lambda output: output.transpose(1, 2)."
        )
    return "last" if last else "second" if second else None


# ---------------------------------------------------------------------- logits or probabilities


def _kind(outputs: Tensor, plan: Plan, hint: Hint | None, kind: str | None) -> Outputs:
    if kind is not None:
        return "probabilities" if kind == "probabilities" else "logits"
    if hint is not None and hint.outputs != "values":
        # Probabilities are handed to a loss for logits often enough (double-softmax): what they are counts.
        fits = plan.per_place == "many" and _sums_to_one(outputs, plan.layout)
        return "probabilities" if fits else hint.outputs
    if plan.per_place == "many":
        if _sums_to_one(outputs, plan.layout):
            return "probabilities"
        if _within_one(outputs) and outputs.numel() >= _ENOUGH:
            raise MistakesError(
                "All outputs lie between 0 and 1 but do not sum to 1 over the classes: they may be logits, or each "
                "the probability of one class against the rest. Give outputs='logits', or predict= to make "
                "probabilities that sum to 1."
            )
        return "logits"
    if not _within_one(outputs):
        return "logits"
    if outputs.numel() >= _ENOUGH:
        return "probabilities"
    raise MistakesError(
        f"All {outputs.numel()} outputs lie between 0 and 1, too few to tell logits from probabilities: give "
        "outputs='logits' or outputs='probabilities', or the loss_fn."
    )


def _sums_to_one(outputs: Tensor, layout: Layout = "last") -> bool:
    if not _within_one(outputs):
        return False
    sums = outputs.float().sum(1 if layout == "second" else -1)
    return bool(((sums - 1).abs() < _SUM_TOLERANCE).all())


def _within_one(outputs: Tensor) -> bool:
    return bool(((outputs >= 0) & (outputs <= 1)).all())


def _is_binary(targets: Tensor, ignored: int) -> bool:
    return bool(((targets == 0) | (targets == 1) | (targets == ignored)).all())


def _misfit(outputs: Tensor, targets: Tensor, why: str) -> MistakesError:
    return MistakesError(
        f"Outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)} ({targets.dtype}): "
        f"{why}. Give predict=, unpack=, or {_ASKS}."
    )
