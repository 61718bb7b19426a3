"""Pictures of curves, drawn into the caller's axes or into a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diagnose.errors import MetricError
from diagnose.metrics._packages import needed
from diagnose.plots import new_axes, write_figure


@contextlib.contextmanager
def axes_in(where: Any, *, size: tuple[float, float] = (5.0, 4.0)) -> Iterator[Any]:
    """The axes to draw into; what is not axes is the path of an image that is written when all is drawn.

    Raises:
        MetricError: matplotlib is not installed, or the file cannot be written; what was there before still is.
    """
    if hasattr(where, "plot") and hasattr(where, "set_xlabel"):
        yield where
        return
    try:
        path = Path(os.fspath(where))
    except TypeError as error:
        raise MetricError(f"plot takes a path or matplotlib axes, not a {type(where).__name__}.") from error
    needed("matplotlib.figure", "A plot")
    axes = new_axes(size)
    yield axes
    try:
        write_figure(axes.figure, path, dpi=150)
    except (OSError, ValueError) as error:
        raise MetricError(f"{path} cannot be written: {error}") from error
