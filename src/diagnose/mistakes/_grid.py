"""A grid of the worst examples as one PNG: each with what is given and predicted, how sure the model is, and its ID."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diagnose.errors import MistakesError
from diagnose.mistakes._png import Pixels, encoded, lettered, resized
from diagnose.mistakes._rankings import Entry, Ranking, checked
from diagnose.mistakes._showing import as_pixels, scale_of, shown
from diagnose.sinks.wording import visible
from diagnose.storage import replace_file

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes


class NothingToDrawError(MistakesError):
    """A ranking has no examples, or none of them is a picture."""


TILE: Final = 96
MOST: Final = 144
_PAPER: Final = 255
_GAP: Final = 6


def grid(
    mistakes: Mistakes, ranking: Ranking = "confident", *, most: int = 64, tile: int = TILE, columns: int = 8
) -> Pixels:
    """The pictures of the first `most` examples of a ranking, at most MOST, of shape (H, W, 3).

    All are shown by one scale (`scale_of`), those of quite another by their own, which stands in their caption.
    Captions need Pillow; without it there are none.

    Raises:
        NothingToDrawError: the ranking is empty, or no example of it can be read again and shown as a picture.
        MistakesError: there is no such ranking, or sizes below 1.
    """
    if tile < 8 or columns < 1 or most < 1:
        raise MistakesError(f"a grid of {most} tiles of {tile} pixels in {columns} columns cannot be drawn")
    chosen = mistakes.rankings[checked(ranking)][: min(most, MOST)]
    pictures = [(entry, picture) for entry in chosen if (picture := picture_of(mistakes, entry.id)) is not None]
    if not pictures:
        why = "has no examples" if not chosen else "has no example that can be read again and is a picture"
        raise NothingToDrawError(
            f"the ranking {ranking!r} {why}: there is nothing to draw. `table()` lists what there is."
        )
    scale = scale_of([picture for _, picture in pictures])
    tiles = []
    for entry, picture in pictures:
        pixels, note = as_pixels(picture, scale)
        tiles.append(_tile(pixels, [*caption(mistakes, entry), note], tile))
    return joined(tiles, columns)


def write_grid(mistakes: Mistakes, path: Path, ranking: Ranking = "confident", **options: int) -> Path:
    """Writes `grid` as a PNG file, which appears whole or not at all.

    Raises:
        MistakesError: as `grid`, or the file cannot be written.
    """
    data = encoded(grid(mistakes, ranking, **options))
    try:
        replace_file(path, lambda file: file.write(data))
    except OSError as error:
        raise MistakesError(f"{path} cannot be written: {error}. Name a file in a directory that is there.") from error
    return path


def picture_of(mistakes: Mistakes, name: Any) -> np.ndarray | None:
    """The picture of an example, (H, W, C); None if it is none, or cannot be read again."""
    part = shown(mistakes.example(name))
    return part.values if part is not None and part.kind == "picture" else None


def caption(mistakes: Mistakes, entry: Entry) -> list[str]:
    """Two lines: "given -> predicted", and "98 %, id 7"."""
    given, predicted = (mistakes.class_name(value) for value in (entry.given, entry.predicted))
    sure = "" if entry.confidence is None else f"{100 * entry.confidence:.3g} %, "
    return [visible(f"{given} -> {predicted}"), visible(f"{sure}id {entry.id}")]


def _tile(pixels: Pixels, lines: list[str], size: int) -> Pixels:
    """A picture in the middle of a square, its caption below."""
    small = resized(pixels, size)
    square = np.full((size, size, 3), _PAPER - 20, dtype=np.uint8)
    top, left = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    words = lettered(size, lines, paper=_PAPER)
    return square if words is None else np.concatenate([square, words])


def joined(tiles: Sequence[Pixels], columns: int) -> Pixels:
    """Tiles of one size in rows of `columns`: by torchvision's `make_grid` where it is installed, else as it does."""
    columns = min(columns, len(tiles))
    try:
        import torch
        from torchvision.utils import make_grid
    except (ImportError, RuntimeError, OSError):
        # RuntimeError: torchvision was built for another torch.
        return _joined(tiles, columns)
    stack = torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2)
    found = make_grid(stack, nrow=columns, padding=_GAP, pad_value=_PAPER)
    pixels: Pixels = found.permute(1, 2, 0).contiguous().numpy().astype(np.uint8)
    return pixels if len(tiles) > 1 else _joined(tiles, columns)


def _joined(tiles: Sequence[Pixels], columns: int) -> Pixels:
    height, width = tiles[0].shape[:2]
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _PAPER, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (height + _GAP) + _GAP, column * (width + _GAP) + _GAP
        sheet[top : top + height, left : left + width] = tile
    return sheet
