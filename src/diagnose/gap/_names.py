"""What kind of hyperparameter a name stands for, with its value where the name alone does not tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, get_args

from diagnose.gap._capacity import Kind

KINDS: Final = get_args(Kind)
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


def _few(value: float) -> bool:
    return value >= 0 and value == int(value) and value <= 100


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class _Pattern:
    """Names of one kind: any of `names` as tokens in a row, or all of one; values that it can have; words that tell
    that it is something else.
    """

    kind: Kind
    names: tuple[tuple[str, ...], ...]
    plausible: Callable[[float], bool]
    never: frozenset[str] = frozenset()


def _names(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(name.split("_")) for name in text.split())


_OF_SCHEDULES: Final = _words("decay gamma min final end patience factor range schedule scheduler")
# Sizes of inputs and outputs are given by the data.
_NO_WIDTH: Final = _words(
    "in input inputs out output outputs image sequence vocab patch name type act activation init norm bias ratio heads "
    "path dir dtype"
)
# In order: the first that fits is taken, so that "dropout_rate" is no rate, and "kernel_width" no width.
_PATTERNS: Final = (
    _Pattern("dropout", _names("dropout drop_prob drop_rate drop_path drop_p drop keep_prob keep"), _share),
    _Pattern(
        "weight-decay",
        _names("weight_decay weightdecay wd decay l2 l2_reg reg lambda lam lmbda ridge"),
        _decay,
        _words("lr rate learning gamma ema epochs steps momentum"),
    ),
    _Pattern("learning-rate", _names("lr learning_rate learningrate eta eta0"), _rate, _OF_SCHEDULES),
    _Pattern("momentum", _names("momentum beta1 mu"), _share, _words("bn batchnorm norm decay")),
    _Pattern(
        "kernel-width",
        _names("kernel kernels kernel_size kernel_width ksize filter_size filter_width conv_size conv_width ks"),
        _kernel,
    ),
    _Pattern("zero-padding", _names("padding pad pads"), _few, _words("token id idx index left right")),
    _Pattern("batch-size", _names("batch_size batchsize batch minibatch bs bsz"), _count),
    _Pattern("epochs", _names("epochs epoch n_iter max_iter iterations steps max_steps"), _count, _OF_SCHEDULES),
    _Pattern("depth", _names("layers depth blocks n_layer num_layer"), _few, _words("layerwise")),
    _Pattern(
        "hidden-units",
        _names(
            "hidden units unit neurons neuron width widths nodes channels channel filters filter d_model dmodel "
            "dim dims layer_size layer_sizes embed embedding emb ff ffn fc mlp hid nhid n_embd rank"
        ),
        _count,
        _NO_WIDTH,
    ),
    _Pattern("augmentation", _names("augmentation augment aug mixup cutmix jitter"), lambda value: value >= 0),
)
# Names so short, or of so many meanings, that what they are is left to their values.
_SHORT: Final = (
    _Pattern("dropout", _names("p rate prob"), lambda value: 0 < value < 1),
    _Pattern("kernel-width", _names("k"), lambda value: _count(value) and value % 2 == 1 and value <= 31),
    _Pattern("learning-rate", _names("step_size stepsize"), lambda value: 0 < value < 1),
    _Pattern("weight-decay", _names("alpha l l1"), lambda value: 0 <= value < 1),
    _Pattern(
        "hidden-units", _names("h l l1 l2 l3 l4 l5 h1 h2 h3 d w n_h n"), lambda value: _count(value) and value >= 2
    ),
)
_CLEAR: Final = frozenset({"lr", "wd", "fc", "l2"})
_NEVER: Final = _words("seed classes workers clip warmup")
RATE_OR_DECAY: Final = frozenset({"alpha"})
"""Names of the learning rate for some people, and of the weight decay for others."""


def kind_of_name(name: str, value: float | None = None) -> Kind | None:
    """The kind of hyperparameter that people call so; None if that cannot be told.

    Reads words, in any spelling: `lr`, `learning_rate`, `optimizer.lr`, `hiddenSize`, `--weight-decay`. A kind is its
    own name. Sizes of inputs and outputs are given by the data, and the settings of a schedule are not the learning
    rate, so neither is of a kind.

    Args:
        value: its number, which has to be possible for the kind; it tells what short names (`h`, `k`, `p`) mean.
    """
    tokens = tokens_of(name)
    if _NEVER & set(tokens):
        return None
    for pattern in _PATTERNS if value is None else (*_PATTERNS, *_SHORT):
        # The outputs of a convolution are a width to choose.
        words = set(tokens[:-2]) if tokens[-2:] == ["out", "channels"] else set(tokens)
        if not _fits(pattern, tokens) or pattern.never & words:
            continue
        if value is not None and not pattern.plausible(value):
            continue
        if pattern.kind == "weight-decay" and tokens == ["l2"] and value is not None and value >= 2:
            continue  # l2=84 is the width of a second layer
        return pattern.kind
    return None


def tokens_of(name: str) -> list[str]:
    """As "fc1.hiddenUnits" -> ["fc", "1", "hidden", "units"]; a letter keeps its number: "l2"."""
    return [token.lower() for token in _TOKENS.findall(name)]


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
