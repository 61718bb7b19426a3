"""Reads a batch: what kind of input it is, and the few numbers that are kept of each example.

Everything is computed in NumPy from copies on the host: no tensor of the caller is changed, none is kept, and no random
number is drawn.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagnose.mistakes.problems._sketch import CHUNKS, Hashes, Kind

THUMBNAIL: Final = 16
"""Thumbnails have at most this many rows and columns: a copy that was moved by a pixel stays near."""

COLUMNS_KEPT: Final = 64
"""Of a table with more columns, so many sums of columns with random signs are kept (Achlioptas, "Database-friendly
random projections", 2003): distances hold to about 1 / sqrt(2 * 64) = 9 %."""

SHINGLE: Final = 3
MINIMA: Final = 64
"""Words in a shingle, and hashes per text: an estimated share of common shingles has a standard error of at most
1 / (2 * sqrt(64)) = .06 (Broder, "On the resemblance and containment of documents", 1997)."""

CHANNELS: Final = (1, 3, 4)
_SMALLEST_IMAGE: Final = 4


class Read(NamedTuple):
    """What is kept of the examples of one batch; fields as in Component."""

    kind: Kind
    chunks: Hashes
    stats: dict[str, NDArray[np.float32]]
    vectors: NDArray[np.floating[Any]] | None
    thumbnail: tuple[int, int] | None
    shingles: NDArray[np.uint32] | None


def inputs_of(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, batch) of each input in what a data loader gives: a tensor, an array, texts, or a nest of them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from inputs_of(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and not _is_texts(value):
        fields = getattr(value, "_fields", None)
        for number, item in enumerate(value):
            own = fields[number] if fields else str(number)
            yield from inputs_of(item, (f"{name}.{own}" if name else own) if len(value) > 1 else name)
    else:
        yield name, value


def length_of(batch: Any) -> int | None:
    """How many examples a batch has; None for what is no batch."""
    if _is_texts(batch):
        return len(batch)
    shape = getattr(batch, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else None


def read(batch: Any) -> Read | str:
    """What is kept of each example, or why the batch cannot be read."""
    if _is_texts(batch):
        return _read_words([text.split() for text in batch], list(batch))
    array = as_array(batch)
    if isinstance(array, str):
        return array
    kind = kind_of(array)
    if kind == "tokens":
        rows = [_without_padding(row) for row in array]
        return _read_words([row.tolist() for row in rows], None)
    return _read_numbers(array, kind)


def as_array(batch: Any) -> NDArray[Any] | str:
    """The batch on the host, as float32, uint8 or int64; or why it cannot be."""
    if hasattr(batch, "detach"):
        import torch

        tensor = batch.detach()
        if tensor.layout is not torch.strided or tensor.is_complex() or tensor.is_quantized or tensor.is_nested:
            return f"a tensor of layout {tensor.layout} and type {tensor.dtype}"
        if tensor.device.type == "meta":
            return "a tensor without values (device meta)"
        array: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    elif isinstance(batch, np.ndarray):
        array = batch
    else:
        return f"neither numbers nor texts, but {type(batch).__name__}"
    if not array.ndim:
        return "a single number for the whole batch"
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "bui":
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        # Adding zero makes -0.0 and 0.0 one number, with one hash.
        floats: NDArray[np.float32] = array.astype(np.float32) + np.float32(0)
        return floats
    return f"an array of type {array.dtype}"


def kind_of(array: NDArray[Any]) -> Kind:
    """What the batch is taken for, by its type and shape."""
    if array.dtype == np.int64 and array.ndim == 2 and array.shape[1] > 1:
        return "tokens"
    if array.ndim <= 2:
        return "table"
    height, width = _height_and_width(array.shape)
    is_square_enough = array.ndim == 4 or (array.ndim == 3 and (height == width or array.dtype == np.uint8))
    is_image = is_square_enough and min(height, width) >= _SMALLEST_IMAGE
    return "image" if is_image else "signal"


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether a batch of images of this shape, (N, a, b, c), has its channels at the end."""
    return len(shape) == 4 and shape[1] not in CHANNELS and shape[3] in CHANNELS


def _height_and_width(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) == 4:
        return (shape[1], shape[2]) if channels_last(shape) else (shape[2], shape[3])
    return shape[1], math.prod(shape[2:])


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, str) for item in value)


# -- numbers ---------------------------------------------------------------------------------------------


def _read_numbers(array: NDArray[Any], kind: Kind) -> Read:
    size = len(array)
    flat = array.reshape(size, -1)
    planes = _planes(array, kind)
    stats = _statistics(flat)
    if kind == "image" and planes.shape[1] in CHANNELS:
        with np.errstate(invalid="ignore", over="ignore"):
            means = planes.reshape(size, planes.shape[1], -1).mean(axis=2, dtype=np.float64)
        stats |= {f"mean_{channel}": means[:, channel].astype(np.float32) for channel in range(means.shape[1])}
    if kind == "table":
        return Read(kind, _chunks(flat), stats, _columns(flat), None, None)
    thumbnails = _thumbnails(planes)
    return Read(
        kind, _chunks(flat), stats, unit(thumbnails.reshape(size, -1)).astype(np.float16), thumbnails.shape[1:], None
    )


def _planes(array: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """Shape (N, channels, height, width)."""
    if array.ndim == 4 and kind == "image":
        return np.moveaxis(array, 3, 1) if channels_last(array.shape) else array
    shape = array.shape
    return array.reshape(shape[0], 1, shape[1], math.prod(shape[2:])) if len(shape) >= 3 else array[:, None, None]


def _statistics(flat: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    if not flat.shape[1]:
        names = ("non_finite", "mean", "std", "low", "high", "at_low", "at_high")
        return {name: np.zeros(len(flat), dtype=np.float32) for name in names}
    finite = np.isfinite(flat)
    bad = flat.shape[1] - finite.sum(axis=1)
    known = np.where(finite, flat, 0) if bad.any() else flat
    count = np.maximum(finite.sum(axis=1), 1)
    mean = known.sum(axis=1, dtype=np.float64) / count
    low = np.where(finite, flat, np.inf).min(axis=1) if bad.any() else flat.min(axis=1)
    high = np.where(finite, flat, -np.inf).max(axis=1) if bad.any() else flat.max(axis=1)
    square = np.where(finite, (known - mean[:, None]) ** 2, 0.0).sum(axis=1, dtype=np.float64) / count
    found = {
        "non_finite": bad,
        "mean": mean,
        "std": np.sqrt(square),
        "low": low,
        "high": high,
        "at_low": (flat == low[:, None]).mean(axis=1),
        "at_high": (flat == high[:, None]).mean(axis=1),
    }
    with np.errstate(over="ignore"):
        return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


def _chunks(flat: NDArray[Any]) -> Hashes:
    """Shape (N, CHUNKS): hashes of the bytes of consecutive parts of each row."""
    edges = [round(flat.shape[1] * part / CHUNKS) for part in range(CHUNKS + 1)]
    found = np.empty((len(flat), CHUNKS), dtype=np.uint64)
    for part, (start, end) in enumerate(itertools.pairwise(edges)):
        width = (end - start) * flat.itemsize
        data = np.ascontiguousarray(flat[:, start:end]).tobytes()
        pieces = (data[row * width : (row + 1) * width] for row in range(len(flat)))
        found[:, part] = [hash_bytes(piece) for piece in pieces]
    return found


def hash_bytes(data: bytes) -> int:
    """64 bits: the same for the same bytes, on every machine."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _thumbnails(planes: NDArray[Any]) -> NDArray[np.float32]:
    """Shape (N, h, w), h and w at most THUMBNAIL: means over areas and channels; not finite counts as 0."""
    with np.errstate(invalid="ignore", over="ignore"):
        grey = planes.mean(axis=1, dtype=np.float32)
    grey = _in_the_middle(np.nan_to_num(grey, copy=False, nan=0.0, posinf=0.0, neginf=0.0))
    rows, columns = _areas(grey.shape[1]), _areas(grey.shape[2])
    pooled: NDArray[np.float32] = np.matmul(np.matmul(rows, grey), columns.T)
    return pooled


def unit(rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Rows brought to mean 0 and length 1; a constant row is all zeros."""
    found = rows.astype(np.float32) - rows.mean(axis=1, keepdims=True, dtype=np.float32)
    sizes = np.sqrt((found.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    units: NDArray[np.float32] = (found / np.where(sizes > 0, sizes, 1)).astype(np.float32)
    return units


def _in_the_middle(grey: NDArray[np.float32], plain: float = 0.1) -> NDArray[np.float32]:
    """Images of a thing on a plain ground, moved by whole pixels so that the thing is in the middle.

    A thin line that moves by a pixel has little in common with itself, and a thumbnail does not show why. A ground is
    plain if its standard deviation along the edge is below `plain` of the image's.
    """
    height, width = grey.shape[1:]
    if min(height, width) < 8:
        return grey
    edge = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    ground = np.median(edge, axis=1)
    weights = np.abs(grey - ground[:, None, None])
    total = weights.sum(axis=(1, 2))
    is_plain = (edge.std(axis=1) < plain * grey.std(axis=(1, 2))) & (total > 0)
    if not is_plain.any():
        return grey
    safe = np.where(total > 0, total, 1)
    down = np.rint((weights.sum(axis=2) @ np.arange(height)) / safe - (height - 1) / 2) * is_plain
    right = np.rint((weights.sum(axis=1) @ np.arange(width)) / safe - (width - 1) / 2) * is_plain
    rows = (np.arange(height) + down[:, None].astype(np.int64)) % height
    columns = (np.arange(width) + right[:, None].astype(np.int64)) % width
    moved: NDArray[np.float32] = grey[np.arange(len(grey))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def _areas(size: int, most: int = THUMBNAIL) -> NDArray[np.float32]:
    """Shape (min(size, most), size): which share of each place of a line belongs to each of its parts."""
    parts = min(size, most)
    edges = np.linspace(0, size, parts + 1)
    places = np.arange(size)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    weights = np.clip(overlap, 0, None)
    found: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def _columns(flat: NDArray[Any]) -> NDArray[np.float32]:
    """Shape (N, at most COLUMNS_KEPT)."""
    with np.errstate(over="ignore", invalid="ignore"):
        rows = flat.astype(np.float32)
        if rows.shape[1] <= COLUMNS_KEPT:
            return rows
        signs = np.random.Generator(np.random.PCG64(rows.shape[1])).choice(  # our own: not the user's random state
            np.array([-1, 1], dtype=np.float32), size=(rows.shape[1], COLUMNS_KEPT)
        )
        found: NDArray[np.float32] = rows @ signs / np.float32(math.sqrt(COLUMNS_KEPT))
    return found


# -- words -----------------------------------------------------------------------------------------------


def _without_padding(row: NDArray[np.int64]) -> NDArray[np.int64]:
    """A row of tokens without the repetitions of one token at its ends; nothing if it is but one token, repeated."""
    changes = np.flatnonzero(row[1:] != row[:-1])
    if not len(changes):
        return row[:0]
    return row[changes[0] : changes[-1] + 2]


def _read_words(rows: Sequence[Sequence[Any]], texts: Sequence[str] | None) -> Read:
    chunks = np.empty((len(rows), CHUNKS), dtype=np.uint64)
    minima = np.empty((len(rows), MINIMA), dtype=np.uint32)
    for number, words in enumerate(rows):
        # The text itself goes into the first part: what differs in its spaces is not equal.
        spaces = "" if texts is None else "".join(texts[number].split(" "))
        parts = [repr(words[part::CHUNKS]) for part in range(CHUNKS)]
        parts[0] += str(len(spaces)) if texts is not None else ""
        chunks[number] = [hash_bytes(part.encode("utf-8", "surrogatepass")) for part in parts]
        minima[number] = _minima(words)
    stats = {"length": np.array([len(words) for words in rows], dtype=np.float32)}
    kind: Kind = "tokens" if texts is None else "text"
    return Read(kind, chunks, stats, None, None, minima)


_NUMBERS: Final = np.random.Generator(np.random.PCG64(MINIMA))
_FACTORS: Final = _NUMBERS.integers(1, 2**61, size=MINIMA).astype(np.uint64) * np.uint64(2) + np.uint64(1)
_SHIFTS: Final = _NUMBERS.integers(0, 2**63, size=MINIMA).astype(np.uint64)
_WORDS_READ: Final = 2000


def _minima(words: Sequence[Any]) -> NDArray[np.uint32]:
    """Shape (MINIMA,): the least hash over the shingles, for each of many hash functions; case does not count."""
    plain = [str(word).lower() for word in words[:_WORDS_READ]]
    shingles = {" ".join(plain[start : start + SHINGLE]) for start in range(max(len(plain) - SHINGLE + 1, 1))}
    if not plain:
        return np.full(MINIMA, 2**32 - 1, dtype=np.uint32)
    seeds = np.array([zlib.crc32(shingle.encode("utf-8", "surrogatepass")) for shingle in shingles], dtype=np.uint64)
    with np.errstate(over="ignore"):
        hashes = (seeds[:, None] * _FACTORS + _SHIFTS) >> np.uint64(32)
    least: NDArray[np.uint32] = hashes.min(axis=0).astype(np.uint32)
    return least
