"""A progress bar with the time that is left, for what takes long enough to make one wonder."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Final

PATIENCE_S: Final = 2.0


class Progress:
    """A context. The bar is there after two seconds, on stderr, if that is a terminal.

    Args:
        wanted: True shows it at once, False never.
        what: is being done, left of the bar.
    """

    def __init__(self, wanted: bool | None, what: str = "gradients") -> None:
        self._what = what
        self._wanted = wanted if wanted is not None else bool(sys.stderr and sys.stderr.isatty())
        self._wait_s = 0.0 if wanted else PATIENCE_S
        self._began = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def told(self, done: int, total: int) -> None:
        """`done` of `total` (tensors, examples, trainings) are done."""
        if not self._wanted or time.monotonic() - self._began < self._wait_s:
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn(self._what),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._what, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
