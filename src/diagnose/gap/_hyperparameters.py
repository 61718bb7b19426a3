"""What a hyperparameter is, by its name and its value: `lr`, `fc1_units`, `l2`, `p_drop` in the user's own words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from diagnose.errors import GapError
from diagnose.gap._capacity import Kind

_TOKENS: Final = re.compile(r"(?<![A-Za-z])[A-Za-z]\d+(?![A-Za-z])|eta0|beta1|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def _share(value: float) -> bool:
    return 0 <= value < 1


def _count(value: float) -> bool:
    return value >= 1 and value == int(value)


def _rate(value: float) -> bool:
    return 0 < value <= 20


def _decay(value: float) -> bool:
    return 0 <= value < 100


def _kernel(value: float) -> bool:
    return _count(value) and value <= 101


def _pad(value: float) -> bool:
    return value >= 0 and value == int(value) and value <= 100


@dataclass(frozen=True)
class _Pattern:
    """Names of one kind: any of `names` as tokens in a row, or all of one; and values that it can have."""

    kind: Kind
    names: tuple[tuple[str, ...], ...]
    plausible: Callable[[float], bool]


def _names(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(name.split("_")) for name in text.split())


# In order: the first that fits is taken, so that "dropout_rate" is no rate, and "kernel_width" no width.
_PATTERNS: Final = (
    _Pattern("dropout", _names("dropout drop_prob drop_rate drop keep_prob keep"), _share),
    _Pattern("weight-decay", _names("weight_decay weightdecay wd decay l2 l2_reg reg lambda lam lmbda ridge"), _decay),
    _Pattern("learning-rate", _names("lr learning_rate learningrate eta eta0"), _rate),
    _Pattern("momentum", _names("momentum beta1 mu"), _share),
    _Pattern(
        "kernel-width",
        _names("kernel kernel_size kernel_width ksize filter_size filter_width conv_size conv_width ks"),
        _kernel,
    ),
    _Pattern("zero-padding", _names("padding pad pads"), _pad),
    _Pattern("batch-size", _names("batch_size batchsize batch minibatch bs bsz"), _count),
    _Pattern("epochs", _names("epochs epoch n_iter max_iter iterations steps max_steps"), _count),
    _Pattern("depth", _names("layers depth n_blocks num_blocks blocks n_layer num_layer"), _pad),
    _Pattern(
        "hidden-units",
        _names(
            "hidden units unit neurons neuron width widths nodes channels channel filters n_filters d_model dmodel "
            "dim embed embedding emb ff ffn fc mlp hid nhid n_embd rank filter"
        ),
        _count,
    ),
    _Pattern("augmentation", _names("augmentation augment aug mixup cutmix jitter"), lambda value: value >= 0),
)
# Names so short that others use them too: what they are is left to their values.
_SHORT: Final = (
    _Pattern("dropout", _names("p rate prob"), lambda value: 0 < value < 1),
    _Pattern("kernel-width", _names("k"), lambda value: _count(value) and value % 2 == 1 and value <= 31),
    _Pattern("weight-decay", _names("alpha l l1"), lambda value: 0 <= value < 1),
    _Pattern(
        "hidden-units", _names("h l l1 l2 l3 l4 l5 h1 h2 h3 d w n_h n"), lambda value: _count(value) and value >= 2
    ),
)
_CLEAR: Final = frozenset({"lr", "wd", "fc", "l2"})
_NOT_DECAY: Final = frozenset({"lr", "rate", "learning", "gamma", "ema", "epochs", "steps", "momentum"})
_OF_SCHEDULES: Final = frozenset({"decay", "gamma", "min", "final", "end", "patience", "factor", "schedule"})
_IGNORED_IN: Final = frozenset({"seed", "classes", "workers", "input", "output", "in", "out", "clip", "warmup"})


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


def recognised(values: Mapping[str, Any] | None) -> Hyperparameters:
    """What the user's hyperparameters are.

    Raises:
        GapError: `values` is no mapping, or a name is no string.
    """
    if values is None:
        return Hyperparameters()
    if not isinstance(values, Mapping):
        raise GapError(f"hyperparameters is a {type(values).__name__}: give a mapping of names to values.")
    known, unknown, optimizer = [], [], ""
    for name, value in sorted(_flat(values), key=lambda pair: pair[0]):
        if _tokens(name)[-1:] in (["optimizer"], ["optim"], ["opt"]) and _number(value) is None:
            text = value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)
            optimizer = re.sub(r"[^a-z]", "", text.lower())
            continue
        found = _recognise(name, value)
        if found is None:
            unknown.append(name)
        else:
            known.append(found)
    return Hyperparameters(tuple(known), tuple(unknown), optimizer or _optimizer_of(known))


def _optimizer_of(known: list[Hyperparameter]) -> str:
    """What names like `adam_lr` tell of the optimizer; momentum is one of SGD."""
    for one in known:
        for token in _tokens(one.name):
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


def _recognise(name: str, value: Any) -> Hyperparameter | None:
    number = _number(value)
    if number is None:
        return None
    tokens = _tokens(name)
    # The outputs of a convolution are a width to choose; those of a model are given by the task.
    if _IGNORED_IN & set(tokens) and tokens[-2:] != ["out", "channels"]:
        return None
    for pattern in (*_PATTERNS, *_SHORT):
        if _fits(pattern, tokens) and pattern.plausible(number):
            if pattern.kind == "weight-decay" and (_NOT_DECAY & set(tokens) or (tokens == ["l2"] and number >= 2)):
                continue  # l2=84 is the width of a second layer
            if pattern.kind == "learning-rate" and _OF_SCHEDULES & set(tokens):
                continue
            return Hyperparameter(name, pattern.kind, number, keeps="keep" in tokens)
    return None


def _fits(pattern: _Pattern, tokens: list[str]) -> bool:
    """Whether one of the pattern's names stands in the tokens, with or without the numbers that count layers."""
    plain = [token for token in tokens if not token.isdigit()]
    joined = "".join(tokens)
    return any(joined == "".join(name) or _within(name, tokens) or _within(name, plain) for name in pattern.names)


def _within(name: tuple[str, ...], tokens: list[str]) -> bool:
    size = len(name)
    if size == 1 and len(name[0]) <= 2 and name[0] not in _CLEAR:  # too short to be looked for inside of a name
        return tokens == list(name)
    return any(tuple(tokens[at : at + size]) == name for at in range(len(tokens) - size + 1))


def _tokens(name: str) -> list[str]:
    """As "fc1.hiddenUnits" -> ["fc", "1", "hidden", "units"]; a letter keeps its number: "l2"."""
    return [token.lower() for token in _TOKENS.findall(name)]


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return None
    if isinstance(value, list | tuple):
        numbers = [_number(item) for item in value]
        found = [number for number in numbers if number is not None]
        return min(found) if found and len(found) == len(numbers) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number == int(number) and isinstance(value, int) else number
