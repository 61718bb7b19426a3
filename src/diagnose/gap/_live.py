"""What can be measured on a model and its data: errors, classes, suspects, save and load, leaks, the test pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from diagnose.baseline import Examples, examples_in
from diagnose.errors import CheckError, GapError
from diagnose.findings import Severity
from diagnose.gap._answers import Answers, Copied, answers, train_mode_ratio
from diagnose.gap._error import Measured, figure
from diagnose.gap._given import Live
from diagnose.gap._hyperparameters import Hyperparameter, Hyperparameters
from diagnose.gap._likeness import overlap, reordered, telling_feature, told_apart
from diagnose.gap._neighbours import backed_by_neighbours, near_copies
from diagnose.gap._situation import Evidence, Situation
from diagnose.gap._told import rare_class_of, suspects_of
from diagnose.mistakes._suspects import TIERS

_ROWS: Final = 256
"""Rows on which the outputs of two models are compared."""
_ROUNDING: Final = 1e-3
"""Largest difference of two outputs, relative to their size, that other kernels or a half-precision file make."""
_TRIED: Final = 32


def measure(situation: Situation, live: Live, seed: int, told: Callable[[int, int], None]) -> None:
    """Adds to the situation all that can be measured."""
    data = {
        name: None if value is None else _examples(value, name)
        for name, value in (("train_data", live.train), ("test_data", live.test), ("train_dev_data", live.train_dev))
    }
    train, test, dev = data["train_data"], data["test_data"], data["train_dev_data"]
    steps: list[Callable[[], None]] = []
    if live.model is not None:
        if train is None and test is None:
            raise GapError("model is given without data: give train_data and test_data.")
        steps.append(lambda: _errors(situation, live, train, test, dev, seed))
        steps.append(lambda: _round_trip(situation, live.model, _first(train, test), seed))
    if live.reloaded is not None:
        if live.model is None:
            raise GapError("reloaded is given without the model that it was loaded from: give model as well.")
        steps.append(lambda: _compare(situation, live, _first(train, test), seed))
    if train is not None and test is not None:
        steps.append(lambda: _likeness(situation, train, test, seed))
    for done, step in enumerate(steps):
        told(done, len(steps))
        step()
    told(len(steps), len(steps))


def _first(train: Examples | None, test: Examples | None) -> Examples:
    found = train if train is not None else test
    assert found is not None
    return found


def _examples(value: Any, name: str) -> Examples:
    try:
        return examples_in(value)
    except CheckError as error:
        raise GapError(f"{name}: {error}") from error


# ---------------------------------------------------------------------- errors


def _errors(
    situation: Situation, live: Live, train: Examples | None, test: Examples | None, dev: Examples | None, seed: int
) -> None:
    with Copied(live.model, seed) as copied:
        found: dict[str, Answers] = {}
        for name, data in (("train", train), ("test", test), ("train_dev", dev)):
            if data is not None:
                text = f"{name.replace('_', '-')} error"
                found[name] = answers(copied, data, text, live.loss_fn)
                _take(situation, name, found[name].measured)
        if train is not None:
            situation.n_train = situation.n_train or float(_size(live.train, len(train)))
            situation.train_mode = train_mode_ratio(copied, train)
        if not situation.hyperparameters.known and copied.module is not None:
            situation.hyperparameters = of_model(copied.module)
    situation.measured_here = "train" in found and "test" in found
    _classes(situation, found, None if train is None else train.inputs)
    _relabelled(situation, found.get("test"))


def _size(data: Any, read: int) -> int:
    """How many examples there are, of which no more than `examples_in` allows were read."""
    data = getattr(data, "dataset", data)
    if isinstance(data, torch.utils.data.Dataset) and hasattr(data, "__len__"):
        return max(len(data), read)
    return read


def _take(situation: Situation, name: str, measured: Measured) -> None:
    """Puts a measured error into the situation; one that the user gave is compared with it."""
    told: Measured | None = getattr(situation, name)
    if told is not None and told.is_share and measured.is_share:
        difference = told.minus(measured, situation.limits.pipeline_confidence)
        if min(abs(difference.low), abs(difference.high)) > situation.limits.pipeline_difference and (
            0.0 not in difference
        ):
            situation.contradictions.append(
                Evidence(
                    f"The {measured.name} was given as {figure(told.value, True)}, but in evaluation mode the model "
                    f"has {measured.text()} on these data.",
                    told.minus(measured),
                    {"given": told.value, "measured": measured.value},
                )
            )
    setattr(situation, name, measured)


def _classes(situation: Situation, found: dict[str, Answers], inputs: torch.Tensor | None) -> None:
    train, test = found.get("train"), found.get("test")
    known = test or train
    if known is not None and known.classes is not None:
        situation.classes = situation.classes or known.classes
    if train is not None and train.margin is not None and situation.suspects is None:
        situation.suspects = _suspects(situation, train, inputs)
        situation.suspects_of_model = situation.suspects is not None
    if test is None or test.given is None or test.predicted is None or situation.rare is not None:
        return
    rows: dict[str, dict[str, float]] = {}
    for number in np.unique(test.given).tolist():
        mine = test.given == number
        row = {"recall": float(np.mean(test.predicted[mine] == number)), "n": float(mine.sum())}
        if train is not None and train.given is not None:
            row["n_train"] = float((train.given == number).sum())
        rows[str(number)] = row
    situation.rare, _ = rare_class_of(rows, situation.limits.rare_recall)


def _suspects(situation: Situation, train: Answers, inputs: torch.Tensor | None) -> Measured | None:
    """Labels that the model contradicts, but for those that their neighbours confirm."""
    given, predicted = train.given, train.predicted
    if given is None or predicted is None or train.margin is None:
        return None
    margin = train.margin.copy()
    rows = np.flatnonzero(margin < TIERS["very-likely"])
    if len(rows) and inputs is not None and len(inputs) == len(given):
        backed = backed_by_neighbours(inputs, given, predicted, rows)
        margin[rows[backed]] = 0.0
        if backed.any():
            situation.note(
                "confirmed-labels",
                f"Of {len(rows)} training labels that the model contradicts surely, {int(backed.sum())} are those of "
                "the nearest training rows: there the model is wrong, and not the label.",
                None,
                contradicted=len(rows),
                confirmed=int(backed.sum()),
            )
    return suspects_of(margin, None)


def _relabelled(situation: Situation, test: Answers | None) -> None:
    if test is None or test.given is None or test.predicted is None or test.classes is None:
        return
    found = reordered(test.given, test.predicted, test.classes)
    if found is not None:
        what, error = found
        situation.contradictions.append(
            Evidence(
                f"The test labels {what}: with that undone, the test error is {figure(error, True)}.",
                None,
                {"error_undone": error},
            )
        )


def of_model(module: nn.Module) -> Hyperparameters:
    """What the layers of a model tell of its hyperparameters, by the names of the layers; the last one is left out."""
    known: list[Hyperparameter] = []
    layers = [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    ]
    for name, layer in layers[:-1]:
        prefix = f"{name}." if name else ""
        if isinstance(layer, nn.Linear):
            known.append(Hyperparameter(f"{prefix}out_features", "hidden-units", layer.out_features))
        else:
            known.append(Hyperparameter(f"{prefix}out_channels", "hidden-units", layer.out_channels))
            known.append(Hyperparameter(f"{prefix}kernel_size", "kernel-width", min(layer.kernel_size)))
            if not isinstance(layer.padding, str):
                known.append(Hyperparameter(f"{prefix}padding", "zero-padding", min(layer.padding)))
    if not layers[:-1] and layers:
        known.append(Hyperparameter("hidden layers", "depth", 0))
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            known.append(Hyperparameter(f"{name}.p" if name else "p", "dropout", layer.p))
    return Hyperparameters(tuple(sorted(known, key=lambda one: one.name)))


# ---------------------------------------------------------------------- save and load


def _outputs(copied: Copied, data: Examples) -> torch.Tensor:
    return copied.outputs(data.batches[0][0])[:_ROWS]


def _compare(situation: Situation, live: Live, data: Examples, seed: int) -> None:
    with Copied(live.model, seed) as copied:
        original = _outputs(copied, data)
    with Copied(live.reloaded, seed, "reloaded") as copied:
        reloaded = _outputs(copied, data)
    if original.shape != reloaded.shape:
        message = f"The reloaded model returns outputs of shape {tuple(reloaded.shape)}, not {tuple(original.shape)}."
        situation.reloaded = Evidence(message)
        return
    scale = float(original.abs().max()) or 1.0
    largest = float((original - reloaded).abs().nan_to_num(float("inf")).max())
    numbers = {"largest_difference": largest, "scale": scale, "allowed": _ROUNDING, "rows": len(original)}
    if largest > _ROUNDING * scale:
        message = (
            f"In evaluation mode the reloaded model's outputs differ from the model's on {len(original)} equal rows, "
            f"by up to {largest:.3g} where outputs are up to {scale:.3g}."
        )
        situation.reloaded = Evidence(message, None, numbers)
    else:
        situation.note(
            "save-load", f"The reloaded model gives the same outputs on {len(original)} rows.", None, **numbers
        )


def _round_trip(situation: Situation, model: Any, data: Examples, seed: int) -> None:
    """Saves and loads a copy: what its state lacks is found by experiment."""
    if not isinstance(model, nn.Module):
        return
    from diagnose.checks import save_load

    inputs = _head(data.batches[0][0], min(_TRIED, len(data.batches[0][1])))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    from diagnose.collect.nested import mapped

    try:
        result = save_load(model, mapped(inputs, lambda tensor: tensor.to(device)), seed=seed)
    except CheckError as error:
        situation.notes.append(f"Saving and loading could not be tried: {error}")
        return
    for finding in result.findings:
        if finding.severity.at_least(Severity.WARNING):
            situation.reloaded = Evidence(finding.message, None, dict(finding.evidence))
            return


def _head(value: Any, size: int) -> Any:
    if isinstance(value, dict):
        return {key: _head(item, size) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_head(item, size) for item in value)
    return value[:size] if isinstance(value, torch.Tensor) and value.dim() else value


# ---------------------------------------------------------------------- leaks and likeness


def _likeness(situation: Situation, train: Examples, test: Examples, seed: int) -> None:
    train_rows, test_rows = train.inputs, test.inputs
    if train_rows is None or test_rows is None:
        situation.notes.append(
            "Test and training inputs are not compared: they have various sizes, or several tensors."
        )
        return
    limits = situation.limits
    if train_rows.shape[1:] == test_rows.shape[1:]:
        shared = overlap(train_rows, test_rows)
        if shared.share.low > limits.leaked_rows and shared.share.value > 2 * shared.by_chance:
            message = (
                f"{figure(shared.share.value, True)} of the test rows are training rows, bit for bit (within the "
                f"training data {figure(shared.by_chance, True)} have a twin)."
            )
            situation.leaks.append(Evidence(message, shared.share, {"limit": limits.leaked_rows}))
            situation.evidence["shared-rows"] = situation.leaks[-1]
        near = None if situation.leaks else near_copies(train_rows, test_rows, seed, limits.pipeline_confidence)
        if near is not None and near.excess.low > limits.leaked_rows:
            message = (
                f"{figure(near.share.value, True)} of the test rows are near copies of training rows (within the "
                f"training data {figure(near.by_chance, True)} lie as near to another one)."
            )
            situation.leaks.append(Evidence(message, near.share, {"limit": limits.leaked_rows}))
            situation.evidence["near-copies"] = situation.leaks[-1]
    _telling(situation, train, train_rows)
    area = told_apart(train_rows, test_rows, seed)
    if area is None:
        return
    message = (
        f"A classifier tells test inputs from training inputs with an area under the curve of {area.value:.2f} "
        f"[{area.low:.2f}, {area.high:.2f}]; .5 is guessing."
    )
    situation.evidence["told-apart"] = Evidence(message, area, {"limit": limits.separable})
    if area.low > limits.separable:
        situation.mismatches.append(situation.evidence["told-apart"])


def _telling(situation: Situation, train: Examples, rows: torch.Tensor) -> None:
    targets = train.targets
    if targets.dim() > 2 or targets.is_floating_point():
        return
    labels = targets.reshape(len(targets), -1)
    if labels.shape[1] != 1 or not rows.is_floating_point():
        return
    found = telling_feature(rows, labels[:, 0].long().numpy())
    if found is None:
        return
    feature, correlation, second = found
    # In easy data several features follow the label; one that stands alone was computed from it.
    if correlation > situation.limits.leaking_feature and second < 0.8 * correlation:
        message = (
            f"Feature {feature} alone has a correlation of {correlation:.3f} with the label, the next best one "
            f"{second:.2f}: it may have been computed from the label."
        )
        situation.leaks.append(Evidence(message, None, {"correlation": correlation, "next_best": second}))
        situation.evidence["telling-feature"] = situation.leaks[-1]
