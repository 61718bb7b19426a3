"""mistakes.html: one page that needs nothing else, no script, no network; readable on light and on dark screens.

Its size is bounded whatever the data hold: pictures are thumbnails, at most so many and so many bytes altogether, texts
are cut, lists are short. Everything that comes from the data is escaped.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diagnose.errors import MistakesError
from diagnose.findings import Finding, Severity
from diagnose.mistakes._grid import picture_of
from diagnose.mistakes._lists import Listing, confusions, neighbours, place_name, slices, worst_places
from diagnose.mistakes._png import encoded, resized
from diagnose.mistakes._problem import Problem
from diagnose.mistakes._rankings import Entry
from diagnose.mistakes._rows import Columns, columns_of
from diagnose.mistakes._scores import Id
from diagnose.mistakes._showing import Shown, as_pixels, scale_of, shown
from diagnose.mistakes._suspects import TIERS, tiers
from diagnose.mistakes._text import LOOK, head, worth_of
from diagnose.sinks.wording import visible
from diagnose.storage import replace_file

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes

MOST_THUMBNAILS: Final = 300
MOST_BYTES: Final = 3_000_000
"""Of all thumbnails, as they stand in the page; what else there is stays well below a megabyte."""
THUMBNAIL: Final = 80
WORST: Final = 48
OF_A_TIER: Final = 24
OF_A_GROUP: Final = 6
GROUPS: Final = 8
CONFUSIONS: Final = 20
SLICES: Final = 20
PLACES: Final = 20
NEIGHBOURS: Final = 20
CELL: Final = 120
FINDINGS: Final = 40
CHARACTERS: Final = 400
TOKENS: Final = 80

_COLOURS: Final = {Severity.ERROR: "#e5484d", Severity.WARNING: "#d88a00", Severity.INFO: "#3e8fd8"}
_FINE: Final = "#2f9e64"
_TIERS: Final = {"very-likely": "Very likely wrong", "suspect": "Suspect", "look": "Worth a look"}

_STYLE: Final = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c1e21;--soft:#5f6670;--line:#d9dce1;--card:#f6f7f9;--mark:#ffe9b8}
@media(prefers-color-scheme:dark){:root{--paper:#16181b;--ink:#e6e8eb;--soft:#9aa2ad;--line:#343941;--card:#1f2226;
--mark:#574312}}
*{box-sizing:border-box}
body{margin:0 auto;padding:20px;max-width:76em;background:var(--paper);color:var(--ink);
font:14px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:20px;margin:0 0 8px}h2{font-size:16px;margin:28px 0 6px}h3{font-size:14px;margin:14px 0 6px}
p{margin:4px 0}.soft,small{color:var(--soft)}
.bar{border-left:4px solid;padding:2px 0 2px 10px;margin:8px 0}
summary{cursor:pointer}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 12px;margin:4px 0}
dt{color:var(--soft)}dd{margin:0}
.cards{display:flex;flex-wrap:wrap;gap:8px;margin:6px 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:4px;padding:6px;width:110px;font-size:12px}
.card.wide{width:340px;max-width:100%}
.card img{display:block;margin:0 auto 4px;max-width:100%;image-rendering:pixelated;background:#808080}
.card p{margin:0}.groups{display:flex;flex-wrap:wrap;gap:4px 16px}
.group{border-left:2px solid var(--line);padding-left:8px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:2px 14px 2px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:normal;white-space:nowrap}td{overflow-wrap:break-word;max-width:24em}
mark{background:var(--mark);color:inherit}
code,pre{font:12px/1.4 ui-monospace,monospace;white-space:pre-wrap;margin:0}
"""


def write_page(mistakes: Mistakes, path: Path) -> Path:
    """Writes `page` to a file, which appears whole or not at all.

    Raises:
        MistakesError: the file cannot be written.
    """
    data = page(mistakes).encode("utf-8", "replace")
    try:
        replace_file(path, lambda file: file.write(data))
    except OSError as error:
        raise MistakesError(f"{path} cannot be written: {error}. Name a file in a directory that is there.") from error
    return path


def page(mistakes: Mistakes, *, most_thumbnails: int = MOST_THUMBNAILS, most_bytes: int = MOST_BYTES) -> str:
    """The whole page: verdict, problems of the data, worst mistakes, suspect labels, confusions, slices, places."""
    cards = _Cards(mistakes, most_thumbnails, most_bytes)
    parts = [
        _verdict(mistakes),
        *(f'<p class="soft">{_escaped(note)}</p>' for note in mistakes.notes[:20]),
        _problems(mistakes, cards),
        _worst(mistakes, cards),
        _suspects(mistakes, cards),
        _confused(mistakes, cards),
        _listed(slices(mistakes, most=SLICES)),
        _listed(worst_places(mistakes, most=PLACES)),
        _listed(neighbours(mistakes, most=NEIGHBOURS)),
        cards.footnote(),
    ]
    title = _escaped(f"Mistakes of {mistakes.model}" if mistakes.model else "Mistakes")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        + "\n".join(part for part in parts if part)
        + "</body></html>\n"
    )


# -- cards -----------------------------------------------------------------------------------------------


class _Cards:
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
        where = f"<p><small>{_cut(file, 60)}</small></p>" if file else ""
        described = self._described(name)
        return (
            f'<div class="card{" wide" if wide else ""}">{body}{about}{described}'
            f"<p><small>id {_cut(str(name), 60)}</small></p>{where}</div>"
        )

    def footnote(self) -> str:
        """What was left out, and how pictures were scaled."""
        said = [f"Pictures: {self._scale.how}."] if self._scale.how and self._made else []
        if self._without:
            said.append(f"{self._without} more pictures were left out to keep the page small.")
        return f'<p class="soft">{_escaped(" ".join(said))}</p>' if said else ""

    def _described(self, name: Id) -> str:
        text = self._mistakes.text(name)
        return f"<p>{_cut(text, CHARACTERS)}</p>" if text else ""

    def _about(self, entry: Entry) -> str:
        given, predicted = (_cut(self._mistakes.class_name(v), 40) for v in (entry.given, entry.predicted))
        sure = "" if entry.confidence is None else f"<p>{100 * entry.confidence:.3g} % sure</p>"
        loss = f"<p>loss {entry.loss:.3g}</p>" if entry.confidence is None and entry.loss is not None else ""
        return f"<p>{given} &rarr; <b>{predicted}</b></p>{sure}{loss}{self._place(entry)}"

    def _place(self, entry: Entry) -> str:
        """Where in the example that is, and how much else of it is wrong."""
        if entry.place is None:
            return ""
        at = f"at {_cut(place_name(self._mistakes.scores, entry.place), 40)}"
        wrong = (
            f", {entry.wrong_places:,} of {entry.places:,} wrong" if self._mistakes.scores.task != "regression" else ""
        )
        return f"<p>{at}{wrong}</p>"

    def _label(self, name: Id) -> str:
        row = self._mistakes._rows.get(name)
        if row is None:
            return ""
        return f"<p>given {_cut(self._mistakes.class_name(self._mistakes.scores.given[row].item()), 40)}</p>"

    def _body(self, name: Id) -> tuple[str, bool]:
        part = self._shown(name)
        if part is None:
            return "", False
        if part.kind == "picture":
            return self._thumbnail(name, part), False
        if part.kind == "text":
            return f"<pre>{_cut(part.text, CHARACTERS)}</pre>", True
        assert part.values is not None
        if part.kind == "tokens":
            more = " ..." if len(part.values) > TOKENS else ""
            return f"<code>{_escaped(' '.join(map(str, part.values[:TOKENS].tolist())) + more)}</code>", True
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
            said = f"<p><small>{_escaped(note)}</small></p>" if note else ""
            self._made[name] = f'<img alt="example {_cut(str(name), 60)}" src="data:image/png;base64,{data}">{said}'
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
        cells.append(f"<mark>{_escaped(text)}</mark>" if odd >= columns.limit else _escaped(text))
    more = f", {len(values) - 8} more columns" if len(values) > 8 else ""
    return f"<p>{', '.join(cells)}{more}</p>"


# -- sections --------------------------------------------------------------------------------------------


def _verdict(mistakes: Mistakes) -> str:
    findings = mistakes.findings
    worst = min((finding.severity for finding in findings), key=lambda severity: severity.rank, default=None)
    colour = _FINE if worst in (None, Severity.INFO) else _COLOURS[worst]
    said = head(mistakes)
    problems = sum(finding.severity.at_least(Severity.WARNING) for finding in findings)
    about = (
        f"{problems} {'problem' if problems == 1 else 'problems'} to look at" if problems else "No problem was found"
    )
    return f'<div class="bar" style="border-color:{colour}"><b>{_escaped(said)} {_escaped(about)}.</b></div>'


def _problems(mistakes: Mistakes, cards: _Cards) -> str:
    findings = mistakes.findings
    shown_ones = findings[:FINDINGS]
    parts = [_finding(finding, cards) for finding in shown_ones]
    if len(findings) > FINDINGS:
        parts.append(f'<p class="soft">and {len(findings) - FINDINGS} more</p>')
    return "<h2>What was found</h2>" + "".join(parts) if parts else ""


def _finding(finding: Finding, cards: _Cards) -> str:
    opened = "" if finding.severity is Severity.INFO else " open"
    terms = [("likely cause", finding.cause), ("what to do", finding.remedy)]
    listed = "".join(f"<dt>{label}</dt><dd>{_cut(text, 1000)}</dd>" for label, text in terms if text)
    examples = _groups(finding, cards) if isinstance(finding, Problem) else ""
    return (
        f'<details class="bar"{opened} style="border-color:{_COLOURS[finding.severity]}">'
        f"<summary><b>{finding.severity.value} {_escaped(finding.code)}</b>: {_cut(finding.message, 1000)}</summary>"
        f"<dl>{listed}</dl>{examples}</details>"
    )


def _groups(problem: Problem, cards: _Cards) -> str:
    """The first groups of a problem, each in a row of its own; single examples all in one."""
    if all(len(group) == 1 for group in problem.groups):
        left_out = len(problem.ids) - 2 * OF_A_GROUP
        note = f'<p class="soft">and {left_out:,} more</p>' if left_out > 0 else ""
        return cards.of_ids(problem.ids[: 2 * OF_A_GROUP]) + note
    groups = (f'<div class="group">{cards.of_ids(group[:OF_A_GROUP])}</div>' for group in problem.groups[:GROUPS])
    more = f'<p class="soft">and {len(problem.groups) - GROUPS} more groups</p>' if len(problem.groups) > GROUPS else ""
    return f'<div class="groups">{"".join(groups)}</div>{more}'


def _worst(mistakes: Mistakes, cards: _Cards) -> str:
    if mistakes.confident:
        return "<h2>Mistakes that the model is most sure of</h2>" + cards.of_entries(mistakes.confident[:WORST])
    return "<h2>Highest loss</h2>" + cards.of_entries(mistakes.highest_loss[:WORST]) if mistakes.highest_loss else ""


def _suspects(mistakes: Mistakes, cards: _Cards) -> str:
    if not mistakes.suspects:
        return ""
    found = tiers(mistakes.scores.margin)
    parts = [
        "<h2>Suspect labels</h2>",
        f'<p class="soft">{_escaped(worth_of(mistakes))}<br>{_escaped(LOOK)}</p>',
    ]
    for tier in TIERS:
        entries = [entry for entry in mistakes.suspects if entry.tier == tier][:OF_A_TIER]
        if entries:
            parts.append(f"<h3>{_TIERS[tier]}: {found.count(tier):,}</h3>{cards.of_entries(entries)}")
    return "".join(parts)


def _listed(listing: Listing, below: str = "") -> str:
    if not listing.rows:
        return ""
    rows = [[_cut(cell, CELL) for cell in row] for row in listing.rows]
    more = f'<p class="soft">and {listing.left_out:,} more</p>' if listing.left_out > 0 else ""
    return f"<h2>{_escaped(listing.title)}</h2>{_table(list(map(_escaped, listing.head)), rows)}{more}{below}"


def _confused(mistakes: Mistakes, cards: _Cards) -> str:
    """The pairs, and examples of the most frequent one."""
    first = mistakes.confusions[0].ids[: 2 * OF_A_GROUP] if mistakes.confusions else ()
    return _listed(confusions(mistakes, most=CONFUSIONS, most_ids=8), cards.of_ids(first))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already."""
    titles = "".join(f"<th>{title}</th>" for title in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{titles}</tr>{lines}</table></div>'


def _cut(text: Any, most: int) -> str:
    """Escaped, and cut in the middle of what is too long."""
    whole = str(text)
    return _escaped(whole if len(whole) <= most else f"{whole[:most]} ...")


def _escaped(text: object) -> str:
    return html.escape(visible(str(text)))
