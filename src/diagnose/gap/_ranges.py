"""The range in which to search one hyperparameter, by its kind: scale, reach, and what values there can be.

Every entry is one of a W&B sweep's `parameters`, with a reason beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from diagnose.gap._capacity import Kind

Entry: TypeAlias = dict[str, Any]

_REACH: Final[Mapping[Kind, float]] = {
    "learning-rate": 10.0,
    "weight-decay": 1000.0,
    "hidden-units": 8.0,
    "batch-size": 4.0,
    "epochs": 4.0,
}
"""How many times more, or less, is still searched. A decade of learning rates, for grids of them are logarithmic
(Goodfellow et al., section 11.4.3); a thousandth of a weight decay is as good as none; three doublings of a width."""
_WHOLE_DEFAULT: Final = 4.0
_FROM_NOTHING: Final[Mapping[Kind, tuple[float, float]]] = {
    "learning-rate": (1e-6, 1.0),  # Bengio, "Practical recommendations for gradient-based training", 2012, section 3.1
    "weight-decay": (1e-6, 1e-2),
}
_ANYWHERE: Final[tuple[Kind, ...]] = ("learning-rate", "weight-decay", "dropout", "momentum")
_MOST_DROPOUT: Final = 0.9


@dataclass(frozen=True)
class Move:
    """Where a hyperparameter should go.

    Attributes:
        kind: what it is; None if that is unknown.
        current: its value now; None if unknown.
        direction: 1 up, -1 down, 0 for either.
        suggested: a value or (low, high) to try, from whoever gave the advice; None if there is none.
        beside: the tried values next to the current one, (below, above), each None where there is none; None altogether
            if nothing was tried.
        reason: one sentence.
    """

    kind: Kind | None
    current: Any
    direction: int
    suggested: Any
    beside: tuple[float | None, float | None] | None
    reason: str


def constant(value: Any, reason: str) -> Entry:
    """The hyperparameter keeps its value."""
    return {"distribution": "constant", "value": value, "reason": reason}


def entry_of(move: Move) -> Entry:
    """The range for one hyperparameter; a constant where no range can be told."""
    if isinstance(move.current, bool):
        return _choice([move.current, not move.current], move.reason)
    if move.kind == "zero-padding" and isinstance(move.current, str):
        return _choice(["valid", "same"], move.reason)
    if isinstance(move.current, list) and move.current and all(type(item) is int for item in move.current):
        return _of_list(move)
    if not isinstance(move.current, int | float | None):
        return constant(move.current, f"{move.reason} It is no number, so no range can be told.")
    if move.current is None and move.suggested is None and move.kind not in _ANYWHERE:
        return constant(None, f"{move.reason} Without its present value no range can be told.")
    make = _BY_KIND.get(move.kind, _any_number) if move.kind else _any_number
    return make(move)


# ---------------------------------------------------------------------- scales


def _log(move: Move) -> Entry:
    """A positive number, on a logarithmic scale."""
    ends = _multiples(move, _REACH.get(move.kind, 10.0) if move.kind else 10.0)
    if ends is None and move.direction < 0 and move.current is not None:
        return constant(move.current, f"{move.reason} It is {move.current} already.")
    low, high = ends or _FROM_NOTHING.get(move.kind or "learning-rate", (1e-6, 1.0))
    if low == high:
        return constant(low, move.reason)
    return {"distribution": "log_uniform_values", "min": low, "max": high, "reason": move.reason}


def _doublings(move: Move) -> Entry:
    """A whole number of at least 1, in factors of two."""
    ends = _multiples(move, _REACH.get(move.kind, _WHOLE_DEFAULT) if move.kind else _WHOLE_DEFAULT)
    if ends is None:
        return constant(move.current, f"{move.reason} Without its present value no range can be told.")
    low, high = max(math.floor(ends[0] + 1e-9), 1), max(math.floor(ends[1] + 1e-9), 1)
    values = {low, high}
    if (start := move.current) is not None and low <= start <= high:
        values |= {int(start * 2**power) for power in range(64) if start * 2**power <= high}
        values |= {int(start // 2**power) for power in range(64) if start // 2**power >= low}
    else:
        values |= {low * 2**power for power in range(64) if low * 2**power <= high}
    return _choice(sorted(values), move.reason)


def _of_list(move: Move) -> Entry:
    """One number for each layer, or for each direction: widths are scaled together, equal numbers stay equal."""
    if move.kind in ("hidden-units", None):
        factors = {1: (1, 2, 4, 8), -1: (0.125, 0.25, 0.5, 1), 0: (0.25, 0.5, 1, 2, 4)}[move.direction]
        lists = [[max(int(width * factor), 1) for width in move.current] for factor in factors]
        return _choice([widths for place, widths in enumerate(lists) if widths not in lists[:place]], move.reason)
    if len(set(move.current)) > 1:
        return constant(move.current, f"{move.reason} Its numbers differ, so no range can be told.")
    entry = entry_of(replace(move, current=move.current[0]))
    if "values" in entry:
        entry["values"] = [[value] * len(move.current) for value in entry["values"]]
        return entry
    return constant(move.current, move.reason)


def _depth(move: Move) -> Entry:
    """A number of layers: up to twice as many and one, or down to half."""
    low, high = _linear(move, below=lambda n: n // 2, above=lambda n: 2 * n + 1)
    low, high = max(int(low), 1), max(int(high), 1)
    if low == high:
        return constant(low, move.reason)
    return {"distribution": "int_uniform", "min": low, "max": high, "reason": move.reason}


def _dropout(move: Move) -> Entry:
    """A share in [0, .9]: up to where a quarter of what is kept now is kept, or down to none."""
    low, high = _linear(move, below=lambda p: 0.0, above=lambda p: _tidy(1 - (1 - p) / 4))
    low, high = (min(max(end, 0.0), _MOST_DROPOUT) for end in (low, high))
    if low == high:
        return constant(low, move.reason)
    return {"distribution": "uniform", "min": float(low), "max": float(high), "reason": move.reason}


def _kernel(move: Move) -> Entry:
    """Widths two apart, so that they stay odd where they are and "same" padding stays symmetric."""
    low, high = _linear(move, below=lambda k: k - 4, above=lambda k: k + 4)
    start = int(move.current if move.current is not None else 3)
    first = max(int(low), 1)
    first += (start - first) % 2
    return _choice([*range(first, max(int(high), first) + 1, 2)], move.reason)


def _padding(move: Move) -> Entry:
    low, high = _linear(move, below=lambda p: p - 2, above=lambda p: p + 2)
    return _choice([*range(max(int(low), 0), max(int(high), 0) + 1)], move.reason)


def _momentum(move: Move) -> Entry:
    """1 - momentum on a logarithmic scale, for it is over 1 / (1 - momentum) steps that gradients are averaged."""
    if move.current is None or not 0 <= move.current < 1:
        return _choice([0.0, 0.5, 0.9, 0.99], move.reason)  # Goodfellow et al., section 8.3.2
    rest = 1 - move.current
    factors = {1: (1.0, 0.3, 0.1), -1: (10.0, 3.0, 1.0), 0: (3.0, 1.0, 0.3)}[move.direction]
    return _choice(sorted({round(max(1 - rest * factor, 0.0), 6) for factor in factors} | {move.current}), move.reason)


def _any_number(move: Move) -> Entry:
    """A number of unknown meaning: positive ones by their logarithm, the others not at all."""
    if isinstance(move.current, int) and move.current >= 1:
        return _doublings(move)
    if (move.current is not None and move.current > 0) or _suggested_range(move) is not None:
        return _log(move)
    return constant(move.current, f"{move.reason} What kind of number it is could not be told: give kinds.")


_BY_KIND: Final[Mapping[Kind, Callable[[Move], Entry]]] = {
    "hidden-units": _doublings,
    "depth": _depth,
    "learning-rate": _log,
    "kernel-width": _kernel,
    "zero-padding": _padding,
    "weight-decay": _log,
    "dropout": _dropout,
    "momentum": _momentum,
    "batch-size": _doublings,
    "epochs": _doublings,
}


# ---------------------------------------------------------------------- ends


def _multiples(move: Move, reach: float) -> tuple[float, float] | None:
    """(low, high) around the current value in factors; None if neither it nor the suggestion is above 0."""
    if (given := _suggested_range(move)) is not None and given[0] > 0:
        return given
    now = move.current if move.current is not None and move.current > 0 else None
    value = move.suggested if isinstance(move.suggested, int | float) and move.suggested > 0 else None
    if now is None:
        return None if value is None else (value / reach**0.5, value * reach**0.5)
    if value is not None and value != now:
        # As far beyond the suggested value as that lies from the present one: it is in the middle then.
        return _ordered(now, _tidy(value * value / now))
    low = _tidy(now / reach) if move.direction <= 0 else now
    high = _tidy(now * reach) if move.direction >= 0 else now
    if move.beside is not None:
        below, above = move.beside
        if below is not None and below > 0:  # what lies below was tried: no need to go further
            low = below
        elif below is None and above is not None:
            low = min(low, _tidy(now * now / above))
        if above is not None:
            high = above
        elif below is not None and below > 0:
            high = max(high, _tidy(now * now / below))
    return low, high


def _linear(move: Move, *, below: Callable[[Any], float], above: Callable[[Any], float]) -> tuple[float, float]:
    """(low, high) around the current value; `below` and `above` say how far to go from it."""
    if (given := _suggested_range(move)) is not None:
        return given
    now = move.current if move.current is not None else 0
    if isinstance(move.suggested, int | float) and move.suggested != now:
        return _ordered(now, _tidy(2 * move.suggested - now))
    low = below(now) if move.direction <= 0 else now
    high = above(now) if move.direction >= 0 else now
    if move.beside is not None:
        low = move.beside[0] if move.beside[0] is not None else low
        high = move.beside[1] if move.beside[1] is not None else high
    return low, high


def _suggested_range(move: Move) -> tuple[float, float] | None:
    return _ordered(*move.suggested) if isinstance(move.suggested, tuple) else None


def _ordered(one: float, other: float) -> tuple[float, float]:
    return min(one, other), max(one, other)


def _tidy(number: float) -> float:
    """Without the last digits: a tenth of 0.3 is 0.03, and not 0.030000000000000002."""
    return number if isinstance(number, int) else float(f"{number:.6g}")


def _choice(values: Sequence[Any], reason: str) -> Entry:
    """Values in their order; one alone is a constant."""
    if len(values) == 1:
        return constant(values[0], reason)
    return {"distribution": "categorical", "values": list(values), "reason": reason}
