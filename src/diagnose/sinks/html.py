"""Findings as HTML for notebooks: self-contained, no script, readable on light and on dark pages.

A notebook does not say which theme it uses: text and background keep the colours of the page, and severity
is a coloured bar, which stands out on both. Everything that is not ours is escaped.
"""

from __future__ import annotations

import html
from typing import Final

from diagnose.findings import Finding, Severity
from diagnose.report import Report
from diagnose.sinks import wording

_COLOURS: Final = {
    Severity.ERROR: "#e5484d",
    Severity.WARNING: "#d88a00",
    Severity.INFO: "#3e8fd8",
}
_VERDICT_COLOURS: Final = {
    "broken": _COLOURS[Severity.ERROR],
    "at-risk": _COLOURS[Severity.WARNING],
    "healthy": "#2f9e64",
    "nothing-seen": "#888888",
}
# The margins and widths that a notebook's own style sheet gives to lists are for long texts: taken back.
_STYLE: Final = (
    ".diagnose{font-family:system-ui,sans-serif;font-size:14px;line-height:1.45;max-width:52em;color:inherit;"
    "overflow-wrap:anywhere}"
    ".diagnose details,.diagnose .verdict{border-left:4px solid;padding:2px 0 2px 10px;margin:8px 0}"
    ".diagnose summary{cursor:pointer}"
    ".diagnose dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 12px;margin:4px 0}"
    ".diagnose dt,.diagnose dd{float:none;width:auto;margin:0;padding:0}"
    ".diagnose dt{opacity:.65;font-weight:normal}"
    ".diagnose small{opacity:.75}.diagnose code{white-space:pre-wrap}"
)


def findings_html(report: Report) -> str:
    """The findings of `report` as one `<div>`; for `_repr_html_`."""
    colour = _VERDICT_COLOURS[report.verdict]
    parts = [
        f'<div class="diagnose"><style>{_STYLE}</style>',
        f'<div class="verdict" style="border-color:{colour}"><b>',
        f"{_escaped(wording.headline(report))}</b><br><small>{_escaped(wording.watched(report))}",
        f" ({_escaped(ending)})" if (ending := wording.ending(report)) else "",
        "</small></div>",
        *(_finding(finding, report) for finding in report.findings),
        *(f"<small>not seen: {_escaped(gap)}</small><br>" for gap in wording.gaps(report)),
    ]
    if report.run.directory is not None:
        parts.append(f"<small>stored in <code>{_escaped(report.run.directory)}</code></small>")
    return "".join([*parts, "</div>"])


def _finding(finding: Finding, report: Report) -> str:
    opened = "" if finding.severity is Severity.INFO else " open"
    code = f"<b>{finding.severity.value} {_escaped(finding.code)}</b>"
    title = f"{code} {_escaped(wording.place_and_steps(finding, report))}".rstrip()
    terms = "".join(f"<dt>{label}</dt><dd>{_escaped(text)}</dd>" for label, text in wording.details(finding, report))
    return (
        f'<details{opened} style="border-color:{_COLOURS[finding.severity]}">'
        f"<summary>{title}: {_escaped(finding.message)}</summary><dl>{terms}</dl></details>"
    )


def _escaped(text: object) -> str:
    return html.escape(wording.visible(text))
