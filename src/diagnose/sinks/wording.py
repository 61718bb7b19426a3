"""How a report is put into words: the same words in the terminal, in HTML and in TensorBoard.

Names come from the user's program and messages from plugins, so every text passes through `visible` before
it is shown: no control character reaches a terminal, no invisible one a reader.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from diagnose.findings import Finding, Severity
from diagnose.report import Report

LONGEST: Final = 2000
"""Characters of any one text; a name of a megabyte is a mistake or an attack."""
PLACES_SHOWN: Final = 4
ALSO_AT: Final = "also_at"
"""Key of the evidence under which the other places of a merged finding stand; see `rules._diagnosis`."""

# What rules like to write, for terminals that have only ASCII or cp1252.
_ASCII: Final = str.maketrans(
    {
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
        "\u00d7": "x",
        "\u00b7": "-",
        "\u2022": "-",
        "\u2265": ">=",
        "\u2264": "<=",
        "\u2248": "~",
        "\u2192": "->",
        "\u00b5": "u",
        "\u03bc": "u",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
    }
)


def visible(text: object, encoding: str = "utf-8") -> str:
    r"""`text` on one line, with nothing in it that is not seen or that `encoding` does not have.

    White space is one blank. Control characters, escape sequences, marks that turn the direction of reading
    and lone surrogates are spelled out (`\x1b`). What is longer than LONGEST is cut.
    """
    line = " ".join(str(text)[: LONGEST + 1].split())
    if len(line) > LONGEST:
        line = line[:LONGEST] + "..."
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return encodable(line, encoding)


def encodable(text: str, encoding: str) -> str:
    """`text` with what `encoding` lacks replaced: by its like in ASCII, else by its number."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text


def number(value: float, unit: str = "") -> str:
    """A number as people write it: three significant digits, whole numbers in full, `unit` appended.

    Args:
        unit: "%" shows a share as per cent; "bytes" takes a prefix; any other is put behind the number.
    """
    if isinstance(value, int) and abs(value) > 1e300:
        value = math.inf if value > 0 else -math.inf
    if unit == "%":
        return f"{number(100 * value)} %"
    if unit == "bytes":
        for prefix in ("bytes", "KiB", "MiB", "GiB"):
            if abs(value) < 1024 or prefix == "GiB":
                return f"{number(value)} {prefix}"
            value /= 1024
    return f"{_digits(value)} {unit}".rstrip()


def _digits(value: float) -> str:
    if isinstance(value, int):
        if abs(value) < 10**9:
            return f"{value:,}"
        value = float(value)
    rounded = f"{value:.2e}"
    mantissa, _, exponent = rounded.partition("e")
    if not exponent:  # nan, inf
        return rounded
    power = int(exponent)
    if value == 0:
        return "0"
    if not -4 <= power < 6:
        return f"{mantissa.rstrip('0').rstrip('.')}e{power}"
    text = f"{float(rounded):,.{max(0, 2 - power)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """Seconds as a length of time: "0.31 s", "42 s", "12 min", "3.5 h"."""
    if seconds < 120:
        return number(seconds, "s") if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def counted(count: int, thing: str) -> str:
    """The count with its unit: "1 step", "3 steps"."""
    return f"{number(count)} {thing}{'' if count == 1 else 's'}"


# -- a finding --------------------------------------------------------------------------------------


def when(finding: Finding, report: Report) -> str:
    """The steps in words: "since step 3", "at step 3", "steps 3 to 8"; "" if no step is concerned.

    Not every step is sampled, and some quantities are read on every fourth sample only. So a fault counts as lasting
    that was still seen in the last tenth of the steps; in the last third, where samples are few.
    """
    first, last = finding.first_step, finding.last_step
    if first is None:
        return ""
    clocks = [optimizer.steps for optimizer in report.run.optimizers if optimizer.steps >= (last or first)]
    end = min(clocks, default=report.run.steps)
    unsure = max(1 / 10, min(1 / 3, 12 / max(1, report.run.sampled)))
    if last is None or (last > first and last >= (1 - unsure) * end):
        return f"since step {number(first)}"
    return f"at step {number(first)}" if last == first else f"steps {number(first)} to {number(last)}"


def where(finding: Finding) -> str:
    """The place, and how many others there are: "fc1 (train.py:12) and 3 more"."""
    others = _listed(finding.evidence.get(ALSO_AT))
    its = finding.where
    place = visible(replace(its, file=shortest_path(its.file)) if its.file else its)
    if not others:
        return place
    return f"{place} and {len(others)} more" if place else counted(len(others), "place")


def place_and_steps(finding: Finding, report: Report) -> str:
    """What follows the code of a finding: "in fc1 and 3 more, since step 3"; "" if neither is known."""
    place = where(finding)
    return ", ".join(filter(None, [place and f"in {place}", when(finding, report)]))


def details(finding: Finding, report: Report) -> Iterator[tuple[str, str]]:
    """What is said below the message, by label; a label comes again for each symptom."""
    yield from (
        (label, text)
        for label, text in (
            ("evidence", "; ".join(f"{name} {value}" for name, value in evidence(finding))),
            ("cause", finding.cause),
            ("try", finding.remedy),
        )
        if text
    )
    yield from (("explains", short(symptom, report)) for symptom in finding.symptoms)
    yield "more", f"diagnose explain {finding.code}"


def shortest_path(path: str | Path) -> str:
    """`path` as seen from the current directory if it lies below it, else as it is."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _shortest_place(place: str) -> str:
    """`place`, a Location in words, with its file as in `shortest_path`."""
    name, bracket, file = place.rpartition(" (")
    return f"{name}{bracket}{shortest_path(file)}"


def evidence(finding: Finding) -> Iterator[tuple[str, str]]:
    """Names and values of the evidence, limits beside what they limit: ("dead share", "63 % (limit 50 %)").

    A key ends with its unit (`share`, `_s`, `_bytes`), before an `_at_first` and the like. A key that ends with
    `_limit` belongs to the key of that name, a key `limit` to the one before it.
    """
    shown: dict[str, list[str]] = {}
    units: dict[str, str] = {}
    for key, value in finding.evidence.items():
        if key == ALSO_AT:
            continue
        owner = _limited(key, list(shown))
        if owner is not None:
            shown[owner].append(f"limit {_value(value, units[owner])}")
            continue
        units[key] = _unit(key)
        shown[key] = [_value(value, units[key])]
    for key, (value_text, *limits) in shown.items():
        yield _label(key), f"{value_text} ({', '.join(limits)})" if limits else value_text
    if others := _listed(finding.evidence.get(ALSO_AT)):
        its_line = f" ({finding.where.file}:{finding.where.line})"
        yield "also at", _some(_shortest_place(other.removesuffix(its_line)) for other in others)


def short(finding: Finding, report: Report) -> str:
    """A finding in a few words, for lists: "vanishing-gradient (fc1.weight, since step 20)"."""
    details = ", ".join(filter(None, [where(finding), when(finding, report)]))
    return f"{visible(finding.code)} ({details})" if details else visible(finding.code)


def _limited(key: str, earlier: list[str]) -> str | None:
    """Which of the `earlier` keys the limit `key` belongs to; None if it is not a limit."""
    if key not in ("limit", "threshold") and not key.endswith(("_limit", "_threshold")):
        return None
    name = key.removesuffix("limit").removesuffix("threshold").removesuffix("_")
    if name:
        named = [other for other in earlier if other == name or other.startswith(f"{name}_")]
        return named[0] if named else None
    return earlier[-1] if earlier else None


_UNITS: Final[Mapping[str, str]] = {
    "share": "%",
    "fraction": "%",
    "_s": "s",
    "_bytes": "bytes",
}


def _unit(key: str) -> str:
    key = key.partition("_at_")[0]
    return next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")


def _label(key: str) -> str:
    for ending, unit in _UNITS.items():
        if key.endswith(ending) and unit != "%":
            key = key.removesuffix(ending)
    return visible(key.replace("_", " "))


def _value(value: Any, unit: str) -> str:
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy number
        value = value.item()
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    if isinstance(value, int | float):
        return number(value, unit)
    if isinstance(value, Mapping):
        return _some([f"{visible(key)} {_value(item, unit)}" for key, item in value.items()])
    if isinstance(value, list | tuple):
        return _some([_value(item, unit) for item in value])
    return visible(value)


def _some(items: Iterable[str]) -> str:
    listed = [visible(item) for item in items]
    more = len(listed) - PLACES_SHOWN
    if more <= 1:  # "and 1 more" takes as much room as the one
        return ", ".join(listed)
    return f"{', '.join(listed[:PLACES_SHOWN])} and {more} more"


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else []


# -- the run ----------------------------------------------------------------------------------------


def headline(report: Report) -> str:
    """The verdict in a line, with how many findings there are."""
    counts = [
        counted(count, severity.value)
        for severity in (Severity.ERROR, Severity.WARNING)
        if (count := report.count(severity))
    ]
    return {
        "broken": f"training is broken: {', '.join(counts)}",
        "at-risk": f"training can be better: {', '.join(counts)}",
        "healthy": f"healthy: nothing wrong in {counted(report.run.steps, 'step')}",
        "nothing-seen": "nothing to diagnose: no optimizer step was seen",
    }[report.verdict]


def accepted(report: Report) -> str:
    """How many findings were left out because they are known, and why; "" if none was."""
    reasons = [reason for _, reason in report.accepted]
    why = [f"{number(reasons.count(reason))} {visible(reason)}" for reason in _unique(reasons)]
    return f"{counted(len(reasons), 'finding')} not shown: {_some(why)}" if reasons else ""


def watched(report: Report) -> str:
    """What was watched and at what cost, in a line."""
    run = report.run
    models = _some(run.models) or "no module"
    kinds = [optimizer.type for optimizer in run.optimizers]
    optimizers = _some([f"{kinds.count(kind)} {kind}" if kinds.count(kind) > 1 else kind for kind in _unique(kinds)])
    subject = f"{models} with {optimizers}" if optimizers else models
    steps = f"{counted(run.steps, 'step')} ({number(run.sampled)} sampled)"
    # Of a short run the share says little: the watch may take a second beyond its budget.
    is_short = run.own_s < 1 and run.overhead > 0.05
    cost = f"{duration(run.own_s)} of it watching" if is_short else f"overhead {100 * run.overhead:.1f} %"
    return f"{subject}; {steps} in {duration(run.wall_s)}, {cost}"


def ending(report: Report) -> str:
    """How the run ended if not well, "" otherwise."""
    return {
        "finished": "",
        "exit": "",
        "running": "still running",
        "exception": "the script raised an exception",
        "interrupt": "interrupted",
        "signal": "ended by a signal",
        "": "not finished, or killed",
    }.get(report.run.ending, visible(report.run.ending))


def labels(report: Report) -> str:
    """What tracked training examples say about their labels; "" if none were tracked."""
    tracked = report.run.tracked
    if tracked is None:
        return ""
    text = tracked.get("text")
    return visible(text) if text else f"training examples were not tracked: {visible(tracked.get('not_tracked', ''))}"


def gaps(report: Report, *, all_of_them: bool = True) -> Iterator[str]:
    """What could not be watched, a line each; without `all_of_them` layers are only counted if reasons differ."""
    for collector, error in report.run.failed.items():
        yield f"{visible(collector)}: switched off after an error of ours: {visible(error)}"
    reasons: dict[str, list[str]] = {}
    for layer, reason in report.run.not_seen.items():
        reasons.setdefault(reason, []).append(layer)
    if len(reasons) > 1 and not all_of_them:
        yield f"activations of {counted(len(report.run.not_seen), 'layer')} (--verbose says why)"
        return
    for reason, layers in reasons.items():
        yield f"{_some(layers)}: {visible(reason)}" if reason else _some(layers)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
