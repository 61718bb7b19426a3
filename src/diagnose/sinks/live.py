"""A status line on a terminal while the script trains, out of the way of all that the script itself prints.

The line has the terminal's last row to itself: scrolling is confined to the rows above (as apt does it), and the
cursor goes back to where it was. So text that is printed, half a line or a bar that redraws itself look as ever.
"""

from __future__ import annotations

import atexit
import os
from typing import Final, TextIO

from diagnose.history import History

_EVERY_S: Final = 0.5
_LEAST_ROWS: Final = 4
_SAVE_CURSOR: Final = "\x1b7"
_RESTORE_CURSOR: Final = "\x1b8"
_WIPE_ROW: Final = "\x1b[2K"
_SCROLL_ALL_ROWS: Final = "\x1b[r"
# Down a row, which scrolls when there is none, and up again: then the last row is empty. The column stays.
_FREE_LAST_ROW: Final = "\x1bD\x1b[1A"


class LiveLine:
    """One line on `stream`, redrawn at most twice a second; nothing where `stream` is no terminal of some size."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn_s = 0.0
        self._process = os.getpid()
        self._size: os.terminal_size | None = None
        """Of the terminal as it is while our row is set apart."""

    def update(self, history: History, now_s: float) -> None:
        """Draws the line if it is time to."""
        if now_s - self._drawn_s < _EVERY_S or os.getpid() != self._process:
            return
        self._drawn_s = now_s
        size = _size(self._stream)
        if size is None:
            return
        setup = ""
        if size != self._size:
            setup = f"{_FREE_LAST_ROW}{_SAVE_CURSOR}\x1b[1;{size.lines - 1}r{_RESTORE_CURSOR}"
            self._size = size
            atexit.register(self.clear)
        # The last column stays empty: a character there makes some terminals wrap.
        text = f"diagnose: {_status(history)}"[: size.columns - 1]
        self._write(f"{setup}{_SAVE_CURSOR}{_to_row(size.lines)}{_WIPE_ROW}{text}{_RESTORE_CURSOR}")

    def clear(self) -> None:
        """Wipes the line and gives its row back."""
        if self._size is not None and os.getpid() == self._process:
            row = _to_row(self._size.lines)
            self._write(f"{_SAVE_CURSOR}{row}{_WIPE_ROW}{_SCROLL_ALL_ROWS}{_RESTORE_CURSOR}")
            self._size = None
            atexit.unregister(self.clear)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # closed by the script
            self._size = None


def _status(history: History) -> str:
    parts = [f"step {history.run.steps}"]
    for stream in history.scopes("loss")[:2]:
        parts.append(f"loss {history.series('loss', stream).values[-1]:.4g}")
    for optimizer in history.scopes("grad_norm")[:1]:
        parts.append(f"gradient norm {history.series('grad_norm', optimizer).values[-1]:.3g}")
    parts.append(f"overhead {100 * history.run.overhead:.1f} %")
    return ", ".join(parts)


def _to_row(row: int) -> str:
    return f"\x1b[{row};1H"


def _size(stream: TextIO) -> os.terminal_size | None:
    """The size of the terminal behind `stream`; None if there is none, or none on which a cursor moves."""
    if os.environ.get("TERM") == "dumb":
        return None
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):  # no terminal, closed, a stand-in
        return None
    return size if size.lines >= _LEAST_ROWS else None
