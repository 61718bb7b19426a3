"""The file that an example came from, where the data set has a list of them."""

from __future__ import annotations

import os
from typing import Any, Final

_LISTS: Final = ("samples", "imgs", "image_paths", "img_paths", "paths", "files", "filenames", "file_names", "images")
"""What data sets call their list of files; the first two are torchvision's (`ImageFolder`, `DatasetFolder`)."""
_DEEPEST: Final = 8


def file_of(dataset: Any, position: int) -> str | None:
    """The file name of an example; None if there is none. Looks through `Subset`, `ConcatDataset` and wrappers."""
    for _ in range(_DEEPEST):
        found = _in_list(dataset, position)
        if found is not None:
            return found
        inner = getattr(dataset, "dataset", None)
        indices, parts = getattr(dataset, "indices", None), getattr(dataset, "datasets", None)
        if isinstance(parts, list | tuple) and hasattr(dataset, "cumulative_sizes"):
            for part in parts:
                if position < len(part):
                    inner = part
                    break
                position -= len(part)
        elif inner is None:
            return None
        elif indices is not None:
            position = int(indices[position])
        elif len(inner) != len(dataset):
            return None  # a wrapper that counts otherwise
        dataset = inner
    return None


def _in_list(dataset: Any, position: int) -> str | None:
    for name in _LISTS:
        files = getattr(dataset, name, None)
        if not isinstance(files, list | tuple) or not position < len(files) == len(dataset):
            continue
        item = files[position]
        if isinstance(item, list | tuple) and item:
            item = item[0]
        if isinstance(item, str | os.PathLike):
            return os.fspath(item)
    return None
