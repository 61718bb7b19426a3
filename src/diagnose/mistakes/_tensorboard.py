"""Mistakes in TensorBoard: a grid of pictures for each ranking, and the page of text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnose.errors import MistakesError
from diagnose.mistakes._grid import NothingToDrawError, grid
from diagnose.storage import EVENT_FILE_SUFFIX

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from diagnose.mistakes._mistakes import Mistakes


def write_tensorboard(mistakes: Mistakes, target: str | Path | SummaryWriter, *, step: int = 0) -> None:
    """Adds images "mistakes/RANKING" and the text "mistakes".

    Args:
        target: a directory for an event file of ours, or a SummaryWriter of the caller, which is flushed, not closed.
        step: of the entries.

    Raises:
        MistakesError: the directory cannot be written to.
    """
    ours = isinstance(target, str | os.PathLike)
    try:
        writer: Any = _open(str(target)) if ours else target
        for ranking in mistakes.rankings:
            try:
                pixels = grid(mistakes, ranking)
            except NothingToDrawError:
                continue
            writer.add_image(f"mistakes/{ranking}", pixels, step, dataformats="HWC")
        # As code, in which nothing is taken for Markdown or HTML.
        indented = "\n".join(f"    {line}" for line in str(mistakes).splitlines())
        writer.add_text("mistakes", indented, step)
        writer.flush()
        if ours:
            writer.close()
    except OSError as error:
        raise MistakesError(f"{target} cannot be written to: {error}. Name a directory that can be made.") from error


def _open(directory: str) -> Any:
    from diagnose.sinks._event_file import ThreadlessWriter

    return ThreadlessWriter(directory, EVENT_FILE_SUFFIX)
