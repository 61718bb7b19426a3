"""The user's hyperparameters, by what they are: `lr`, `fc1_units`, `l2`, `p_drop` in the user's own words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagnose.errors import GapError
from diagnose.gap._capacity import Kind
from diagnose.gap._names import RATE_OR_DECAY, kind_of_name, tokens_of


@dataclass(frozen=True)
class Hyperparameter:
    """One of the user's.

    Attributes:
        name: what the user calls it.
        kind: what it is.
        value: its number; of a list of widths, the smallest: the narrowest one limits the others.
        keeps: whether it is the share that dropout keeps, not the one that it drops.
    """

    name: str
    kind: Kind
    value: float | int
    keeps: bool = False


@dataclass(frozen=True)
class Hyperparameters:
    """Those that were recognised, and what the optimizer is called.

    Attributes:
        known: in an order that does not depend on the user's.
        unknown: names of the others.
        optimizer: "adam", "adamw", "sgd", ... in lower case; "" if unknown.
    """

    known: tuple[Hyperparameter, ...] = ()
    unknown: tuple[str, ...] = ()
    optimizer: str = ""

    def of(self, kind: Kind) -> Iterator[Hyperparameter]:
        """Those of a kind, the most limiting one first: the smallest width, the largest dropout."""
        found = [one for one in self.known if one.kind == kind]
        sign = -1 if kind in ("dropout", "weight-decay") else 1
        yield from sorted(found, key=lambda one: (sign * drop_of(one), one.name))

    def first(self, kind: Kind) -> Hyperparameter | None:
        """The most limiting one of a kind."""
        return next(self.of(kind), None)


def drop_of(one: Hyperparameter) -> float:
    """Its value; of a share that dropout keeps, the share that it drops."""
    return 1 - one.value if one.keeps else one.value


def recognised(values: Mapping[str, Any] | None, rates: Sequence[float] = ()) -> Hyperparameters:
    """What the user's hyperparameters are.

    Args:
        rates: the learning rates that the training has recorded. A hyperparameter whose name does not tell what it is,
            and that has the first or the largest of them as its value, is the learning rate.

    Raises:
        GapError: `values` is no mapping, or a name is no string.
    """
    if values is None:
        return Hyperparameters()
    if not isinstance(values, Mapping):
        raise GapError(f"hyperparameters is a {type(values).__name__}: give a mapping of names to values.")
    known, unknown, optimizer = [], {}, ""
    for name, value in sorted(_flat(values), key=lambda pair: pair[0]):
        tokens, number = tokens_of(name), number_of(value)
        if tokens[-1:] in (["optimizer"], ["optim"], ["opt"]) and number is None:
            text = value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)
            optimizer = re.sub(r"[^a-z]", "", text.lower())
            continue
        kind = None if number is None else kind_of_name(name, number)
        if number is None or kind is None:
            unknown[name] = number
        else:
            known.append(Hyperparameter(name, kind, number, keeps="keep" in tokens))
    known = _told_by_rates(known, unknown, rates)
    left = (name for name in unknown if all(one.name != name for one in known))
    return Hyperparameters(tuple(known), tuple(left), optimizer or _optimizer_of(known))


def _told_by_rates(
    known: list[Hyperparameter], unknown: dict[str, float | int | None], rates: Sequence[float]
) -> list[Hyperparameter]:
    """Those that are known, once it is settled which one is the learning rate.

    A name that is one of the learning rate for some people and of the weight decay for others is neither, unless the
    learning rate has another name, or the recorded rates tell.
    """
    if any(one.kind == "learning-rate" for one in known):
        return known
    doubtful = {one.name: one.value for one in known if RATE_OR_DECAY & set(tokens_of(one.name))}
    known = [one for one in known if one.name not in doubtful]
    candidates = {name: value for name, value in {**unknown, **doubtful}.items() if _is_rate(value, rates)}
    unknown.update(doubtful)
    if len(candidates) == 1:
        ((name, value),) = candidates.items()
        known.append(Hyperparameter(name, "learning-rate", value or 0.0))
    return sorted(known, key=lambda one: one.name)


def _is_rate(value: float | int | None, rates: Sequence[float]) -> bool:
    if not value or not len(rates):
        return False
    return any(math.isclose(value, rate, rel_tol=1e-6) for rate in (rates[0], max(rates)))


def _optimizer_of(known: list[Hyperparameter]) -> str:
    """What names like `adam_lr` tell of the optimizer; momentum is one of SGD."""
    for one in known:
        for token in tokens_of(one.name):
            if token in ("adam", "adamw", "sgd", "rmsprop"):
                return token
    return "sgd" if any(one.kind == "momentum" and "beta" not in one.name.lower() for one in known) else ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings, as of a configuration file, with dotted names."""
    for name, value in values.items():
        if not isinstance(name, str):
            raise GapError(f"hyperparameters has the name {name!r}, a {type(name).__name__}: names are strings.")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def number_of(value: Any) -> float | int | None:
    """The number that a value is; of a list of numbers the smallest; None if it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return None
    if isinstance(value, list | tuple):
        numbers = [number_of(item) for item in value]
        found = [number for number in numbers if number is not None]
        return min(found) if found and len(found) == len(numbers) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number == int(number) and isinstance(value, int) else number
