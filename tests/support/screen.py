"""A terminal as far as a status line and progress bars need one: rows, a cursor, a scrolling region."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|\x1b([78D])|(.)", re.DOTALL)


class Screen:
    """What is seen after all that `write` was given; what has scrolled out at the top is in `history`."""

    def __init__(self, rows: int, columns: int) -> None:
        self.columns = columns
        self.history: list[str] = []
        self._rows = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._saved = (0, 0)
        self._last = rows - 1  # of the scrolling region, which begins at the first row

    @property
    def rows(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._rows]

    @property
    def everything(self) -> str:
        return "\n".join([*self.history, *self.rows])

    def frames(self, text: str) -> Iterator[list[str]]:
        """Writes `text`; yields the rows after each character or escape sequence."""
        end = 0
        for token in _TOKEN.finditer(text):
            assert token.start() == end, f"not understood: {text[end : end + 20]!r}"
            end = token.end()
            arguments, command, escape, character = token.groups()
            if character is not None:
                self._put(character)
            else:
                numbers = [int(n) if n else 0 for n in (arguments or "").split(";")]
                self._obey(command or escape, numbers)
            yield self.rows

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        else:
            if self._column == self.columns:
                self._column = 0
                self._down()
            self._rows[self._row][self._column] = character
            self._column += 1

    def _down(self) -> None:
        if self._row == self._last:
            self.history.append("".join(self._rows.pop(0)).rstrip())
            self._rows.insert(self._last, [" "] * self.columns)
        elif self._row < len(self._rows) - 1:
            self._row += 1

    def _obey(self, command: str, numbers: list[int]) -> None:
        if command == "D":
            self._down()
        elif command == "A":
            self._row = max(0, self._row - max(1, numbers[0]))
        elif command == "H":
            row, column = (*numbers, 1, 1)[:2]
            self._row, self._column = max(1, row) - 1, max(1, column) - 1
        elif command == "K":
            first = 0 if numbers[0] == 2 else self._column
            self._rows[self._row][first:] = [" "] * (self.columns - first)
        elif command == "r":
            assert numbers[0] in (0, 1)
            self._last = (numbers[1] if len(numbers) > 1 else len(self._rows)) - 1
            self._row = self._column = 0
        elif command == "7":
            self._saved = self._row, self._column
        elif command == "8":
            self._row, self._column = self._saved
        elif command != "m":  # colours
            raise AssertionError(f"unknown: {command} {numbers}")
