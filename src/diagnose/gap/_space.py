"""recommend_space: from advice to the next search space, in plain data that a tuner takes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from diagnose.errors import GapError
from diagnose.findings import json_safe
from diagnose.gap._capacity import Kind
from diagnose.gap._names import KINDS, kind_of_name
from diagnose.gap._ranges import Entry, Move, constant, entry_of
from diagnose.gap._recommendation import Code, Recommendation

_MOVES: Final[Mapping[Code, Mapping[Kind, int]]] = {
    "more-capacity": {
        "hidden-units": 1,
        "depth": 1,
        "kernel-width": 1,
        "zero-padding": 1,
        "weight-decay": -1,
        "dropout": -1,
        "learning-rate": 0,
        "epochs": 1,
    },
    "less-capacity": {
        "hidden-units": -1,
        "depth": -1,
        "kernel-width": -1,
        "zero-padding": -1,
        "weight-decay": 1,
        "dropout": 1,
        "learning-rate": 0,
        "epochs": -1,
    },
    "more-regularization": {"weight-decay": 1, "dropout": 1, "epochs": -1, "hidden-units": -1, "depth": -1},
    "better-optimization": {"learning-rate": 0, "epochs": 1, "momentum": 0, "batch-size": 0, "weight-decay": -1},
    "lower-lr": {"learning-rate": -1},
    "higher-lr": {"learning-rate": 1},
    "less-weight-decay": {"weight-decay": -1},
    "less-dropout": {"dropout": -1},
}
"""Which way each advice moves each kind (table 11.1 of Goodfellow et al.: capacity as a function of each)."""

_UNNAMED: Final[Mapping[Code, Sequence[Kind]]] = {
    "more-capacity": ("hidden-units", "depth"),
    "less-capacity": ("hidden-units", "depth"),
    "more-regularization": ("weight-decay", "dropout"),
    "better-optimization": ("learning-rate", "epochs"),
    "lower-lr": ("learning-rate",),
    "higher-lr": ("learning-rate",),
    "less-weight-decay": ("weight-decay",),
    "less-dropout": ("dropout",),
}
"""What an advice without a name concerns: the hyperparameters that stand for it most directly."""

_COMES_FIRST: Final[Mapping[Code, str]] = {
    "check-test-pipeline": "a search would choose by a wrong test error",
    "check-save-load": "a search would choose by the error of another model than the trained one",
    "check-leak": "a search would choose by a test error that is too good",
    "target-met": "nothing has to be searched",
}


def recommend_space(
    recommendations: Iterable[Recommendation],
    hyperparameters: Mapping[str, Any],
    *,
    kinds: Mapping[str, str] | None = None,
    tried: Mapping[str, Collection[Any]] | None = None,
    also: Collection[str] = (),
) -> dict[str, Entry]:
    """The next search space: for each hyperparameter of the user, by the user's name, a range or a constant.

    Ranges begin at the present value and go where the advice points, so that no change at all stays in the running.
    Where several recommendations concern a hyperparameter, the first one counts. What no advice concerns stays as it
    is. Where the first advice is to check the measurement itself, or that the target is met, all stay as they are.

    Args:
        recommendations: best first, as in `diagnose_gap(...).recommendations`.
        hyperparameters: present values by name: numbers, strings, booleans, None, lists of these.
        kinds: what a name means ("learning-rate", "hidden-units", "depth", "kernel-width", "zero-padding",
            "weight-decay", "dropout", "momentum", "batch-size", "epochs", "augmentation") where the name itself does
            not tell.
        tried: values by name that were tried already, the present one being the best of them. Where that is the least
            or the largest of them, the range goes beyond it; else it lies between its neighbours (section 11.4.3).
        also: names of more hyperparameters to search, around their present values. The learning rate is worth it
            whenever the model changes: it is "the most important hyperparameter" (section 11.4).

    Returns:
        By name, in the order of `hyperparameters`: `{"distribution", ..., "reason"}`, plain data for JSON.
        Distributions are W&B's: "constant" with "value"; "categorical" with "values", in ascending order; "uniform",
        "int_uniform" and "log_uniform_values" with "min" and "max". `sweep_parameters` makes W&B's own of it.

    Raises:
        GapError: a hyperparameter is NaN or infinite, or `kinds`, `tried` or `also` name what there is not.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", 2016, table 11.1 and sections 11.4.1 to 11.4.3.
    """
    ranked = list(recommendations)
    _check_arguments(ranked, hyperparameters, kinds or {}, tried or {}, also)
    named = {name: _canonical(kind) for name, kind in (kinds or {}).items()}
    meanings = {name: named.get(name) or _kind_by_advice(name, ranked) for name in hyperparameters}
    if ranked and ranked[0].code in _COMES_FIRST:
        reason = f"{ranked[0].code} comes first: {_COMES_FIRST[ranked[0].code]}."
        return {name: constant(_plain(value)[0], reason) for name, value in hyperparameters.items()}
    space = {}
    for name, value in hyperparameters.items():
        current, is_plain = _plain(value)
        move = _move(name, current, meanings, ranked, (tried or {}).get(name), name in also)
        if not is_plain:
            space[name] = constant(current, "It is no plain data: this is how it shows as text.")
        elif move is None:
            space[name] = constant(current, "No advice concerns it.")
        else:
            space[name] = json_safe(entry_of(move))
    return space


def sweep_parameters(space: Mapping[str, Mapping[str, Any]]) -> dict[str, Entry]:
    """The `parameters` of a W&B sweep: a space of `recommend_space` without its reasons.

    A sweep is `{"method": "random", "metric": ..., "parameters": sweep_parameters(space)}`.
    """
    return {name: {key: value for key, value in entry.items() if key != "reason"} for name, entry in space.items()}


# ---------------------------------------------------------------------- which way


def _move(
    name: str,
    current: Any,
    meanings: Mapping[str, Kind | None],
    ranked: Sequence[Recommendation],
    tried: Collection[Any] | None,
    is_free: bool,
) -> Move | None:
    """Where `name` should go; None if nothing says that it should."""
    kind = meanings[name]
    beside = _beside(current, tried)
    for advice in ranked:
        if not _concerns(advice, name, kind, meanings):
            continue
        direction = _MOVES.get(advice.code, {}).get(kind, 0) if kind else 0
        if beside is not None and direction:
            # What lies on the other side was tried, and was worse.
            beside = (beside[0], current) if direction < 0 else (current, beside[1])
        reason = f"{advice.code}: {advice.reason}"
        return Move(kind, current, direction, advice.suggested, beside, reason)
    if beside is not None and (reason := _edge(current, beside)):
        return Move(kind, current, 0, None, beside, reason)
    if is_free:
        return Move(kind, current, 0, None, None, "Searched around its present value, as asked for.")
    return None


def _concerns(advice: Recommendation, name: str, kind: Kind | None, meanings: Mapping[str, Kind | None]) -> bool:
    if advice.code not in _MOVES:
        return False
    if advice.hyperparameter is not None:
        return advice.hyperparameter == name
    if advice.kind is not None:
        return kind is not None and kind == kind_of_name(advice.kind)
    return kind in _UNNAMED[advice.code]


def _beside(current: Any, tried: Collection[Any] | None) -> tuple[float | None, float | None] | None:
    """The tried values next to the current one; None if there are no others, or they are no numbers."""
    if tried is None or not _is_number(current):
        return None
    numbers = [value for value in (_plain(item)[0] for item in tried) if _is_number(value)]
    below = max((value for value in numbers if value < current), default=None)
    above = min((value for value in numbers if value > current), default=None)
    return None if below is None and above is None else (below, above)


def _edge(current: Any, beside: tuple[float | None, float | None]) -> str:
    if beside[0] is None:
        return f"{current} is the least of the values tried: the best may lie below."
    if beside[1] is None:
        return f"{current} is the largest of the values tried: the best may lie above."
    return f"The best of the values tried lies between {beside[0]} and {beside[1]}: look closer there."


def _kind_by_advice(name: str, ranked: Sequence[Recommendation]) -> Kind | None:
    """What the advice says that the name means, else what the name itself says."""
    for advice in ranked:
        if advice.hyperparameter == name and advice.kind is not None and (kind := kind_of_name(advice.kind)):
            return kind
    return kind_of_name(name)


# ---------------------------------------------------------------------- what was given


def _check_arguments(
    ranked: Sequence[Recommendation],
    hyperparameters: Mapping[str, Any],
    kinds: Mapping[str, str],
    tried: Mapping[str, Any],
    also: Collection[str],
) -> None:
    for advice in ranked:
        if not isinstance(advice, Recommendation):
            raise GapError(f"recommendations hold a {type(advice).__name__}, and have to be Recommendation objects.")
    if not isinstance(hyperparameters, Mapping):
        raise GapError(f"hyperparameters are a {type(hyperparameters).__name__}, and have to be a dict of name: value.")
    for argument, names in (("kinds", kinds), ("tried", tried), ("also", also)):
        for name in [names] if isinstance(names, str) else names:
            if name not in hyperparameters:
                there = ", ".join(map(repr, hyperparameters)) or "none"
                raise GapError(f"{argument} names {name!r}, which is no hyperparameter: there are {there}.")
    for name, value in hyperparameters.items():
        plain = _plain(value)[0]
        if isinstance(plain, float) and not math.isfinite(plain):
            raise GapError(f"The hyperparameter {name!r} is {plain}: no search can begin there. Give its real value.")


def _canonical(kind: str) -> Kind:
    found = kind_of_name(kind) if isinstance(kind, str) else None
    if found is None:
        raise GapError(f"kinds holds {kind!r}, and has to hold kinds among {', '.join(map(repr, KINDS))}.")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> tuple[Any, bool]:
    """The value as JSON has it, and whether it has it; else its text."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a NumPy number, or a tensor of one
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value, True
    if isinstance(value, list | tuple):
        parts = [_plain(item) for item in value]
        return [part for part, _ in parts], all(is_plain for _, is_plain in parts)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        pairs = {key: _plain(item) for key, item in value.items()}
        return {key: part for key, (part, _) in pairs.items()}, all(is_plain for _, is_plain in pairs.values())
    return str(value), False
