"""A status line on a terminal while the script trains; it wipes itself before anything else is printed by us."""

from __future__ import annotations

from typing import Final, TextIO

from diagnose.history import History

_EVERY_S: Final = 0.5
_WIPE: Final = "\r\x1b[2K"


class LiveLine:
    """One line on `stream`, which must be a terminal, redrawn at most twice a second.

    The script's own output may land behind the line; it is then drawn anew below. A progress bar that redraws itself
    in the same place wins: whoever writes last is seen.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn_s = 0.0
        self._shown = False

    def update(self, history: History, now_s: float) -> None:
        """Draws the line if it is time to."""
        if now_s - self._drawn_s < _EVERY_S:
            return
        self._drawn_s = now_s
        parts = [f"step {history.run.steps}"]
        for stream in history.scopes("loss")[:2]:
            parts.append(f"loss {history.series('loss', stream).values[-1]:.4g}")
        for optimizer in history.scopes("grad_norm")[:1]:
            parts.append(f"gradient norm {history.series('grad_norm', optimizer).values[-1]:.3g}")
        parts.append(f"overhead {100 * history.run.overhead:.1f} %")
        self._write(f"{_WIPE}diagnose: {', '.join(parts)}")
        self._shown = True

    def clear(self) -> None:
        """Wipes the line."""
        if self._shown:
            self._write(_WIPE)
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # closed by the script
            self._shown = False
