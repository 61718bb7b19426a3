"""Examples as small cards of HTML: a thumbnail, a text, tokens, or the unusual columns of a row."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diagnose.mistakes._grid import picture_of
from diagnose.mistakes._lists import place_name
from diagnose.mistakes._png import encoded, resized
from diagnose.mistakes._rankings import Entry
from diagnose.mistakes._rows import Columns, columns_of
from diagnose.mistakes._scores import Id
from diagnose.mistakes._showing import Shown, as_pixels, scale_of, shown
from diagnose.sinks.wording import visible

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes

THUMBNAIL: Final = 80
CHARACTERS: Final = 400
TOKENS: Final = 80


class Cards:
    """Examples as small cards, as long as there is room for their thumbnails."""

    def __init__(self, mistakes: Mistakes, most: int, most_bytes: int) -> None:
        self._mistakes = mistakes
        self._left, self._bytes_left = most, most_bytes
        self._without = 0
        self._made: dict[Id, str] = {}
        self._known: dict[Id, Shown | None] = {}
        first = [entry.id for ranking in mistakes.rankings.values() for entry in ranking[:12]]
        pictures = [p for name in dict.fromkeys(first) if (p := picture_of(mistakes, name)) is not None]
        self._scale = scale_of(pictures)
        self._columns: Columns | None = None

    def of_entries(self, entries: Iterable[Entry]) -> str:
        """Cards with what is given, predicted, how sure the model is, and the ID."""
        return _row(self.card(entry.id, self._about(entry)) for entry in entries)

    def of_ids(self, names: Iterable[Id]) -> str:
        """Cards with the label and the ID."""
        return _row(self.card(name, self._label(name)) for name in names)

    def card(self, name: Id, about: str) -> str:
        body, wide = self._body(name)
        file = self._mistakes.file(name) if name in self._mistakes._rows else None
        where = f"<p><small>{cut(file, 60)}</small></p>" if file else ""
        described = self._described(name)
        return (
            f'<div class="card{" wide" if wide else ""}">{body}{about}{described}'
            f"<p><small>id {cut(str(name), 60)}</small></p>{where}</div>"
        )

    def footnote(self) -> str:
        """What was left out, and how pictures were scaled."""
        said = [f"Pictures: {self._scale.how}."] if self._scale.how and self._made else []
        if self._without:
            said.append(f"{self._without} more pictures were left out to keep the page small.")
        return f'<p class="soft">{escaped(" ".join(said))}</p>' if said else ""

    def _described(self, name: Id) -> str:
        text = self._mistakes.text(name)
        return f"<p>{cut(text, CHARACTERS)}</p>" if text else ""

    def _about(self, entry: Entry) -> str:
        given, predicted = (cut(self._mistakes.class_name(v), 40) for v in (entry.given, entry.predicted))
        sure = "" if entry.confidence is None else f"<p>{100 * entry.confidence:.3g} % sure</p>"
        loss = f"<p>loss {entry.loss:.3g}</p>" if entry.confidence is None and entry.loss is not None else ""
        return f"<p>{given} &rarr; <b>{predicted}</b></p>{sure}{loss}{self._place(entry)}"

    def _place(self, entry: Entry) -> str:
        """Where in the example that is, and how much else of it is wrong."""
        if entry.place is None:
            return ""
        at = f"at {cut(place_name(self._mistakes.scores, entry.place), 40)}"
        wrong = (
            f", {entry.wrong_places:,} of {entry.places:,} wrong" if self._mistakes.scores.task != "regression" else ""
        )
        return f"<p>{at}{wrong}</p>"

    def _label(self, name: Id) -> str:
        row = self._mistakes._rows.get(name)
        if row is None:
            return ""
        return f"<p>given {cut(self._mistakes.class_name(self._mistakes.scores.given[row].item()), 40)}</p>"

    def _body(self, name: Id) -> tuple[str, bool]:
        part = self._shown(name)
        if part is None:
            return "", False
        if part.kind == "picture":
            return self._thumbnail(name, part), False
        if part.kind == "text":
            return f"<pre>{cut(part.text, CHARACTERS)}</pre>", True
        assert part.values is not None
        if part.kind == "tokens":
            more = " ..." if len(part.values) > TOKENS else ""
            return f"<code>{escaped(' '.join(map(str, part.values[:TOKENS].tolist())) + more)}</code>", True
        if self._columns is None:
            self._columns = columns_of(self._mistakes)
        return _row_of_table(part.values, self._columns), True

    def _shown(self, name: Id) -> Shown | None:
        if name not in self._known:
            self._known[name] = shown(self._mistakes.example(name)) if name in self._mistakes._rows else None
        return self._known[name]

    def _thumbnail(self, name: Id, part: Shown) -> str:
        if not self._left:
            self._without += 1
            return ""
        if name not in self._made:
            assert part.values is not None
            pixels, note = as_pixels(part.values, self._scale)
            data = base64.b64encode(encoded(resized(pixels, THUMBNAIL))).decode("ascii")
            said = f"<p><small>{escaped(note)}</small></p>" if note else ""
            self._made[name] = f'<img alt="example {cut(str(name), 60)}" src="data:image/png;base64,{data}">{said}'
        image = self._made[name]
        if len(image) > self._bytes_left:
            self._without += 1
            return ""
        self._left -= 1
        self._bytes_left -= len(image)
        return image


def _row(cards: Iterable[str]) -> str:
    joined = "".join(cards)
    return f'<div class="cards">{joined}</div>' if joined else ""


def _row_of_table(values: np.ndarray, columns: Columns) -> str:
    """The values of a row, the most unusual first and marked."""
    order, unusual = columns.by_oddity(values)
    cells = []
    for column in order[:8]:
        text = f"{columns.name(column)} = {values[column]:.4g}"
        odd = unusual[column]
        cells.append(f"<mark>{escaped(text)}</mark>" if odd >= columns.limit else escaped(text))
    more = f", {len(values) - 8} more columns" if len(values) > 8 else ""
    return f"<p>{', '.join(cells)}{more}</p>"


def cut(text: Any, most: int) -> str:
    """Escaped, and cut in the middle of what is too long."""
    whole = str(text)
    return escaped(whole if len(whole) <= most else f"{whole[:most]} ...")


def escaped(text: object) -> str:
    return html.escape(visible(str(text)))
