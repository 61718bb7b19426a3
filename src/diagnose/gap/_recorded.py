"""What a watched run has recorded of its errors, curves and hyperparameters.

Losses are recorded of every run; accuracies where the program compares answers with labels or logs them. Training
losses are those of training mode, with dropout, and of a model that changed meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import GapError
from diagnose.gap._curves import Curves, curves_of
from diagnose.gap._error import ASSUMED, Measured
from diagnose.gap._hyperparameters import Hyperparameter, Hyperparameters
from diagnose.gap._situation import Situation
from diagnose.history import History
from diagnose.rules.loss._course import Course, main_course
from diagnose.rules.loss._evaluation import Evaluation, evaluations, whole
from diagnose.stats.curves import noise

Floats = NDArray[np.float64]

_BLOCKS: Final = 20
_FEWEST: Final = 4
_SIDES: Final = ("train", "test")
_LINEAR: Final = ("Linear", "Conv1d", "Conv2d", "Conv3d")


def history_of(source: Any) -> History:
    """The history of a run directory, or of a Watch, or the one given.

    Raises:
        GapError: it is none of these.
        RunDirectoryError: there is no readable run.
    """
    if isinstance(source, str | os.PathLike):
        from diagnose.storage import load

        return load(Path(source))[0]
    found = getattr(source, "history", source)
    if isinstance(found, History):
        return found
    raise GapError(f"source is a {type(source).__name__}: give a run directory, a History or a Watch.")


def read(situation: Situation, history: History) -> None:
    """Adds what the run has recorded where the user has told nothing."""
    optimizer = max(history.optimizers, key=lambda name: history.optimizers[name].steps, default="")
    course = main_course(history, optimizer) if optimizer else None
    if course is None or not (len(course) or course.broke_at):
        situation.notes.append("The run recorded no training loss.")
    found = _evaluation(history)
    curves = {**_losses(course, found), **_metrics(history)}
    for name, values in curves_of(curves).values.items():
        if not len(situation.curves.get(name)):
            given = {**situation.curves.given, name: f"recorded {name}"}
            situation.curves = Curves({**situation.curves.values, name: values}, given)
    if not situation.hyperparameters.known:
        situation.hyperparameters = _hyperparameters(history, optimizer)
    _errors(situation, history, course, found)


def _evaluation(history: History) -> Evaluation | None:
    """The stream that ends highest in the units of the training loss: another one measures the training data."""
    found = [one for one in whole(list(evaluations(history))) if len(one.series) > 0]
    return max(found, key=lambda one: float(np.median(one.series.values[-3:])), default=None)


def _losses(course: Course | None, found: Evaluation | None) -> dict[str, Floats]:
    """Means of the training loss from one evaluation to the next, or over equal blocks where there are few."""
    if course is None or not len(course):
        return {}
    if found is not None and len(found.series) >= _FEWEST:
        edges = np.searchsorted(course.steps, found.series.steps, side="right")
        parts = [course.values[a:b] for a, b in zip([0, *edges[:-1]], edges, strict=True)]
        kept = [index for index, part in enumerate(parts) if len(part)]
        train = np.array([parts[index].mean() for index in kept])
        made = {"train_loss": train, "test_loss": found.series.values[kept]}
    else:
        blocks = min(_BLOCKS, len(course) // 3)
        made = (
            {"train_loss": np.array([part.mean() for part in np.array_split(course.values, blocks)])} if blocks else {}
        )
    if course.broke_at is not None and "train_loss" in made:
        made["train_loss"] = np.append(made["train_loss"], np.nan)
    return made


def _metrics(history: History) -> dict[str, Floats]:
    """What was logged by a name that says what it is: `watch.log(val_error=...)`."""
    made: dict[str, Floats] = {}
    for scope in history.scopes("metric"):
        with contextlib.suppress(GapError):
            found = curves_of({scope: history.series("metric", scope).values})
            name = next(iter(found.values))
            if name not in ("lr", "train_loss") and name not in made:
                made[name] = found.values[name]
    return made


def _hyperparameters(history: History, optimizer: str) -> Hyperparameters:
    known: list[Hyperparameter] = []
    for scope in history.scopes("lr"):
        if scope.startswith(f"{optimizer}/"):
            rates = history.series("lr", scope).values
            if len(rates) and rates.max() > 0:
                known.append(Hyperparameter("lr", "learning-rate", float(rates.max())))
                break
    for facts in history.modes.values():
        if facts.kind == "dropout" and facts.p > 0:
            known.append(Hyperparameter(f"{facts.module or 'dropout'}.p", "dropout", facts.p))
    known += _sizes(history)
    of = history.optimizers.get(optimizer)
    name = "" if of is None else of.type.lower()
    return Hyperparameters(tuple(sorted(known, key=lambda one: one.name)), (), name)


def _sizes(history: History) -> list[Hyperparameter]:
    """Widths and kernels of all layers but the last, by the shapes of their weights."""
    known: list[Hyperparameter] = []
    layers = [
        facts
        for name, facts in history.parameters.items()
        if facts.module_type in _LINEAR and name.endswith("weight") and len(facts.shape) >= 2
    ]
    layers.sort(key=lambda facts: -1 if facts.order is None else facts.order)
    for facts in layers[:-1]:
        if facts.module_type == "Linear":
            known.append(Hyperparameter(f"{facts.module}.out_features", "hidden-units", facts.shape[0]))
        else:
            known.append(Hyperparameter(f"{facts.module}.out_channels", "hidden-units", facts.shape[0]))
            known.append(Hyperparameter(f"{facts.module}.kernel_size", "kernel-width", min(facts.shape[2:])))
    return known


# ---------------------------------------------------------------------- errors


def _errors(situation: Situation, history: History, course: Course | None, found: Evaluation | None) -> None:
    n_test = max((rows.rows for rows in history.evaluated.values()), default=0)
    told = situation.train is not None or situation.test is not None
    _rates(situation, history, n_test)
    test, target = situation.test, situation.target
    met = test is not None and target is not None and test.value <= target  # or may be: no loss tells more
    unknown = not told and not met and (situation.train is None or test is None)
    if unknown and course is not None and len(course) and found is not None:
        losses_as_errors(situation, n_test)


def _rates(situation: Situation, history: History, n_test: int) -> None:
    """Error rates: the last logged ones, or what comparisons of answers with labels have shown."""
    train, test = situation.curves.last("train_error"), situation.curves.last("test_error")
    seen = max(history.accuracies.values(), key=lambda one: one.phases, default=None)
    if situation.test is None and test is None and seen is not None and seen.examples and len(history.accuracies) == 1:
        situation.notes.append(
            "The test error is that of the evaluation in which the model was most clearly right, over the examples "
            "that were compared with their labels."
        )
        situation.test = Measured("test error", 1 - seen.right, float(seen.examples))
    for name, value in (("train", train), ("test", test)):
        if value is None or not 0 <= value <= 1 or getattr(situation, name) is not None:
            continue
        n = (n_test if name == "test" else situation.n_train) or 0
        if not n:
            situation.notes.append(f"How many examples the {name} error is of was not recorded: {ASSUMED:,} assumed.")
        setattr(situation, name, Measured(f"{name} error", value, float(n or ASSUMED), assumed=not n))
    if situation.test is not None and situation.train is None:
        situation.notes.append("No training error was recorded, only losses: log it, or give train_error.")


def losses_as_errors(situation: Situation, n_test: float) -> None:
    """Losses in place of errors, if the curves have both."""
    curves = situation.curves
    train, test = curves.last("train_loss"), curves.last("test_loss")
    if train is None or test is None or not all(np.isfinite(curves.get(f"{name}_loss")).all() for name in _SIDES):
        return  # a training that broke down is judged by that alone
    situation.notes.append(
        "Only losses are known, no error rates. The training loss is a mean over training mode, where dropout is on, "
        "while the model changed; standard errors are those of squared normal residuals and of the curve's own noise."
    )
    if situation.test is not None:
        situation.note("test-error-rate", f"Test error {situation.test.text()}.", situation.test.interval())
    target = situation.reference
    if target is not None and 0 <= target <= 1:
        situation.notes.append("The target is taken for a share of wrong answers, and not compared with losses.")
        situation.target = situation.human = None
    for name, value in (("train", train), ("test", test)):
        n = float((n_test if name == "test" else situation.n_train) or ASSUMED)
        rough = noise(curves.get(f"{name}_loss"))
        error = float(np.hypot(np.sqrt(2 / n) * abs(value), 0.0 if np.isnan(rough) else rough))
        setattr(situation, name, Measured(f"{name} loss", value, n, is_share=False, error=error, assumed=True))
