"""What of an example can be shown: a picture, a text, tokens or a row of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes._png import Pixels
from diagnose.mistakes.problems._reading import as_array, channels_last, kind_of

_DEPTH: Final = 4
_EDGE: Final = 0.01


@dataclass(frozen=True)
class Shown:
    """The part of an example that people can look at.

    Attributes:
        kind: what it is.
        values: of a picture shape (H, W, C), of a row or of tokens shape (D,); None for a text.
        text: of a text; "" else.
    """

    kind: Literal["picture", "text", "tokens", "row"]
    values: NDArray[Any] | None = None
    text: str = ""


def shown(example: Any, *, depth: int = _DEPTH) -> Shown | None:
    """What can be shown of what a data set returns for an example; None if there is nothing.

    Of several inputs a picture comes first, then a text, then what is longest; what comes last of a tuple is the
    target, and is not shown.
    """
    parts = [part for part in (_one(value) for value in _inputs(example, depth)) if part is not None]
    order = {"picture": 0, "text": 1, "tokens": 2, "row": 2}
    return min(parts, key=lambda p: (order[p.kind], -(0 if p.values is None else p.values.size)), default=None)


def _inputs(example: Any, depth: int) -> list[Any]:
    if isinstance(example, Mapping):
        values = [v for key, v in example.items() if str(key) not in ("label", "labels", "target", "targets")]
    elif isinstance(example, tuple) and not hasattr(example, "_fields"):
        values = list(example[:-1]) if len(example) > 1 else list(example)
    elif isinstance(example, tuple | list) and example and not _is_numbers(example):
        values = list(example)
    else:
        return [example]
    return [part for value in values for part in _inputs(value, depth - 1)] if depth else []


def _is_numbers(value: Sequence[Any]) -> bool:
    return all(isinstance(item, int | float) for item in value)


def _one(value: Any) -> Shown | None:
    if isinstance(value, str):
        return Shown("text", text=value)
    if hasattr(value, "convert") and hasattr(value, "getbands"):
        return Shown("picture", np.asarray(value.convert("RGB")))
    if isinstance(value, list | tuple) and value and _is_numbers(value):
        value = np.asarray(value)
    if not hasattr(value, "shape"):
        return None
    batch = value[None] if len(value.shape) else value
    array = as_array(batch)
    if isinstance(array, str) or array.size == 0 or array.ndim < 2:
        return None
    if array.ndim == 4 and kind_of(array) == "image":
        planes = array[0] if channels_last(array.shape) else np.moveaxis(array[0], 0, -1)
        return Shown("picture", planes)
    if array.ndim == 3 and kind_of(array) == "image":
        return Shown("picture", array[0, :, :, None])
    kind: Literal["tokens", "row"] = "tokens" if kind_of(array) == "tokens" else "row"
    return Shown(kind, array.reshape(-1))


# -- pictures --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Which values are black and white.

    Attributes:
        low, high: these.
        how: what to tell people about it.
    """

    low: float
    high: float
    how: str


def scale_of(pictures: Sequence[NDArray[Any]]) -> Scale:
    """One scale for all pictures, so that bright and dark ones can be told: 0 to 255 for bytes, 0 to 1 where all values
    are within it, else from the 1st to the 99th percentile of all of them.
    """
    if not pictures:
        return Scale(0.0, 1.0, "")
    if all(picture.dtype == np.uint8 for picture in pictures):
        return Scale(0.0, 255.0, "as stored, 0 to 255")
    samples = [picture.reshape(-1)[:: max(1, picture.size // 4096)].astype(np.float64) for picture in pictures]
    samples = [values[np.isfinite(values)] for values in samples]
    spreads = np.array([float(np.ptp(values)) if len(values) else 0.0 for values in samples])
    usual = float(np.median(spreads))
    # Pictures of quite another scale do not count.
    kept = [values for values, spread in zip(samples, spreads, strict=True) if spread <= 3 * usual and len(values)]
    some = np.concatenate(kept) if kept else np.zeros(0)
    if not len(some):
        return Scale(0.0, 1.0, "without finite values")
    low, high = np.quantile(some, [_EDGE, 1 - _EDGE]).tolist()
    if low >= 0 and 0.5 < high <= 1:
        return Scale(0.0, 1.0, "as stored, 0 to 1")
    if low >= 0 and 127 < high <= 255:
        return Scale(0.0, 255.0, "as stored, 0 to 255")
    if high <= low:
        low, high = float(some.min()), float(some.max())
    return Scale(low, high, f"all by one scale, black {low:.3g}, white {high:.3g}")


def as_pixels(picture: NDArray[Any], scale: Scale) -> tuple[Pixels, str]:
    """A picture as (H, W, 3), and what was done to it beyond `scale`; "" if nothing was.

    One that is of another scale altogether would be all black or white, and is shown by its own. Of two channels the
    mean is shown, of more than three the first three. What is not finite is shown as the nearer end, NaN as black.
    """
    values = np.nan_to_num(picture.astype(np.float64), nan=scale.low, posinf=scale.high, neginf=scale.low)
    channels = values.shape[2]
    notes = []
    if channels in (1, 2):
        values = values.mean(axis=2, keepdims=True).repeat(3, axis=2)
        notes += ["mean of 2 channels"] if channels == 2 else []
    elif channels > 3:
        values = values[:, :, :3]
        notes += [f"channels 1 to 3 of {channels}"]
    low, high = scale.low, scale.high
    width = max(high - low, 1e-30)
    least, most = np.quantile(values, [_EDGE, 1 - _EDGE]).tolist()
    spread = float(values.max() - values.min())
    is_other = most < low - width / 2 or least > high + width / 2 or most - least > 3 * width or 0 < spread < width / 20
    if is_other:
        low, high = float(values.min()), float(values.max())
        notes.append(f"own scale, {low:.3g} to {high:.3g}")
    levels = (values - low) / max(high - low, 1e-30) if high > low else np.zeros_like(values)
    return np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8), ", ".join(notes)
