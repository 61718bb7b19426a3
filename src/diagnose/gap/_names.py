"""What hyperparameter a name means, in the words of table 11.1 of Goodfellow et al. and a few beside it."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal[
    "hidden-units",
    "depth",
    "learning-rate",
    "kernel-width",
    "zero-padding",
    "weight-decay",
    "dropout",
    "momentum",
    "batch-size",
    "epochs",
]
KINDS: Final = get_args(Kind)

_SCHEDULES: Final = {"scheduler", "schedule", "warmup", "gamma", "min", "end", "final", "patience", "factor", "range"}
_NOT_A_WIDTH: Final = {
    *("in", "input", "inputs", "out", "output", "outputs", "classes", "image", "sequence", "vocab", "patch"),
    *("seed", "name", "type", "act", "activation", "init", "norm", "bias", "ratio", "heads", "path", "dir", "dtype"),
}
_WIDTHS: Final = {"hidden", "width", "widths", "units", "channels", "filters", "neurons", "ffn", "mlp"}
_SIZES: Final = {"dim", "dims", "size", "features", "d"}
_SIZED: Final = {"embed", "embedding", "model", "ff", "layer"}


def kind_of_name(name: str) -> Kind | None:
    """The kind of hyperparameter that people call so; None if the name does not tell.

    Reads words, in any spelling: `lr`, `learning_rate`, `optimizer.lr`, `hiddenSize`, `--weight-decay`. A kind is its
    own name. Sizes of inputs and outputs are given by the data, and the settings of a schedule are not the learning
    rate, so neither is of a kind.
    """
    words = _words(name)
    have = set(words)
    joined = "".join(words)
    if "dropout" in joined or ("drop" in have and have & {"p", "prob", "rate", "path"}):
        return "dropout"
    if "weightdecay" in joined or have & {"wd"} or name.lower() == "l2":
        return "weight-decay"
    if ("lr" in have or "learningrate" in joined) and not have & (_SCHEDULES | {"decay"}):
        return "learning-rate"
    if have & {"kernel", "kernels"}:
        return "kernel-width"
    if have & {"padding", "pad"} and not have & {"token", "id", "idx", "index", "left", "right"}:
        return "zero-padding"
    if "batchsize" in joined or have == {"bs"}:
        return "batch-size"
    if have & {"epochs", "epoch"} and not have & _SCHEDULES:
        return "epochs"
    if "momentum" in have and not have & {"bn", "batchnorm", "norm", "decay"}:
        return "momentum"
    if have & {"layers", "depth", "blocks"} and not have & {"layerwise"}:
        return "depth"
    is_width = have & _WIDTHS or (have & _SIZES and have & _SIZED) or have in ({"dim"}, {"dims"})
    if is_width and not have & _NOT_A_WIDTH:
        return "hidden-units"
    return None


def _words(name: str) -> list[str]:
    """Lower-case words of a name, split at punctuation, digits, and where small letters are followed by a capital."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^a-z]+", spaced.lower()) if word]
