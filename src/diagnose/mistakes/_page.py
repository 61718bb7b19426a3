"""mistakes.html: one page that needs nothing else, no script, no network; readable on light and on dark screens.

Its size is bounded whatever the data hold: pictures are thumbnails, at most so many and so many bytes altogether, texts
are cut, lists are short. Everything that comes from the data is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diagnose.errors import MistakesError
from diagnose.findings import Finding, Severity
from diagnose.mistakes._cards import Cards, cut, escaped
from diagnose.mistakes._lists import Listing, confusions, neighbours, slices, worst_places
from diagnose.mistakes._problem import Problem
from diagnose.mistakes._suspects import TIERS, tiers
from diagnose.mistakes._text import LOOK, head, worth_of
from diagnose.storage import replace_file

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes

MOST_THUMBNAILS: Final = 300
MOST_BYTES: Final = 3_000_000
"""Of all thumbnails, as they stand in the page; what else there is stays well below a megabyte."""
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
    cards = Cards(mistakes, most_thumbnails, most_bytes)
    parts = [
        _verdict(mistakes),
        *(f'<p class="soft">{escaped(note)}</p>' for note in mistakes.notes[:20]),
        _problems(mistakes, cards),
        _worst(mistakes, cards),
        _suspects(mistakes, cards),
        _confused(mistakes, cards),
        _listed(slices(mistakes, most=SLICES)),
        _listed(worst_places(mistakes, most=PLACES)),
        _listed(neighbours(mistakes, most=NEIGHBOURS)),
        cards.footnote(),
    ]
    title = escaped(f"Mistakes of {mistakes.model}" if mistakes.model else "Mistakes")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        + "\n".join(part for part in parts if part)
        + "</body></html>\n"
    )


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
    return f'<div class="bar" style="border-color:{colour}"><b>{escaped(said)} {escaped(about)}.</b></div>'


def _problems(mistakes: Mistakes, cards: Cards) -> str:
    findings = mistakes.findings
    shown_ones = findings[:FINDINGS]
    parts = [_finding(finding, cards) for finding in shown_ones]
    if len(findings) > FINDINGS:
        parts.append(f'<p class="soft">and {len(findings) - FINDINGS} more</p>')
    return "<h2>What was found</h2>" + "".join(parts) if parts else ""


def _finding(finding: Finding, cards: Cards) -> str:
    opened = "" if finding.severity is Severity.INFO else " open"
    terms = [("likely cause", finding.cause), ("what to do", finding.remedy)]
    listed = "".join(f"<dt>{label}</dt><dd>{cut(text, 1000)}</dd>" for label, text in terms if text)
    examples = _groups(finding, cards) if isinstance(finding, Problem) else ""
    return (
        f'<details class="bar"{opened} style="border-color:{_COLOURS[finding.severity]}">'
        f"<summary><b>{finding.severity.value} {escaped(finding.code)}</b>: {cut(finding.message, 1000)}</summary>"
        f"<dl>{listed}</dl>{examples}</details>"
    )


def _groups(problem: Problem, cards: Cards) -> str:
    """The first groups of a problem, each in a row of its own; single examples all in one."""
    if all(len(group) == 1 for group in problem.groups):
        left_out = len(problem.ids) - 2 * OF_A_GROUP
        note = f'<p class="soft">and {left_out:,} more</p>' if left_out > 0 else ""
        return cards.of_ids(problem.ids[: 2 * OF_A_GROUP]) + note
    groups = (f'<div class="group">{cards.of_ids(group[:OF_A_GROUP])}</div>' for group in problem.groups[:GROUPS])
    more = f'<p class="soft">and {len(problem.groups) - GROUPS} more groups</p>' if len(problem.groups) > GROUPS else ""
    return f'<div class="groups">{"".join(groups)}</div>{more}'


def _worst(mistakes: Mistakes, cards: Cards) -> str:
    if mistakes.confident:
        return "<h2>Mistakes that the model is most sure of</h2>" + cards.of_entries(mistakes.confident[:WORST])
    return "<h2>Highest loss</h2>" + cards.of_entries(mistakes.highest_loss[:WORST]) if mistakes.highest_loss else ""


def _suspects(mistakes: Mistakes, cards: Cards) -> str:
    if not mistakes.suspects:
        return ""
    found = tiers(mistakes.scores.margin)
    parts = [
        "<h2>Suspect labels</h2>",
        f'<p class="soft">{escaped(worth_of(mistakes))}<br>{escaped(LOOK)}</p>',
    ]
    for tier in TIERS:
        entries = [entry for entry in mistakes.suspects if entry.tier == tier][:OF_A_TIER]
        if entries:
            parts.append(f"<h3>{_TIERS[tier]}: {found.count(tier):,}</h3>{cards.of_entries(entries)}")
    return "".join(parts)


def _listed(listing: Listing, below: str = "") -> str:
    if not listing.rows:
        return ""
    rows = [[cut(cell, CELL) for cell in row] for row in listing.rows]
    more = f'<p class="soft">and {listing.left_out:,} more</p>' if listing.left_out > 0 else ""
    return f"<h2>{escaped(listing.title)}</h2>{_table(list(map(escaped, listing.head)), rows)}{more}{below}"


def _confused(mistakes: Mistakes, cards: Cards) -> str:
    """The pairs, and examples of the most frequent one."""
    first = mistakes.confusions[0].ids[: 2 * OF_A_GROUP] if mistakes.confusions else ()
    return _listed(confusions(mistakes, most=CONFUSIONS, most_ids=8), cards.of_ids(first))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already."""
    titles = "".join(f"<th>{title}</th>" for title in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{titles}</tr>{lines}</table></div>'
