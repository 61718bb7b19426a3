"""Pictures of curves: figures that belong to no window and no backend. `matplotlib.pyplot` is not imported."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from diagnose.storage import replace_file


def new_axes(size: tuple[float, float]) -> Any:
    """The axes of a new figure of that size, in inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").add_subplot()


def write_figure(figure: Any, path: Path, *, dpi: int) -> None:
    """Writes a figure, whole or not at all, in the format that the ending of `path` names; PNG if it has none.

    Raises:
        OSError: `path` cannot be written, and is as it was.
        ValueError: matplotlib knows no such format.
    """
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.lstrip(".") or "png", dpi=dpi)
    replace_file(path, lambda file: file.write(content.getvalue()))
