"""Findings that are known and accepted: those of a baseline file, and those that the configuration suppresses.

A baseline is what was found on the day it was written; a run with it reports only what is new. A finding is
recognised by its code, its module or parameter, and its source file. Lines, steps, numbers and severities change
from run to run and do not count. What an accepted finding would have brought about is not accepted with it.

    {"version": 1, "tool": "torch-diagnose 0.1.0", "findings": [
        {"code": "dead-units", "where": "encoder.relu", "file": "train.py", "message": "for readers only"}]}

Files are relative to the folder of the baseline, so that it can be kept with the sources.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from diagnose.errors import ConfigError
from diagnose.findings import Evidence, Finding
from diagnose.storage import replace_file

VERSION: Final = 1
IN_BASELINE: Final = "in the baseline"
_LARGEST_BYTES: Final = 2**26
_ALSO_AT: Final = "also_at"


@dataclass(frozen=True)
class Suppression:
    """A table `[[tool.diagnose.suppress]]`: which findings are not to be reported, and why.

    Attributes:
        code: of the rule.
        reason: for those who read the configuration or the report later.
        module: pattern (`*`, `?`) of the module or parameter; None is any.
        file: pattern of the source file, as the finding shows it or relative to the current folder; None is any.
    """

    code: str
    reason: str
    module: str | None = None
    file: str | None = None

    def covers(self, code: str, name: str, file: str | None) -> bool:
        """Whether the finding `code` in the module or parameter `name` is meant."""
        if code != self.code or (self.module is not None and not fnmatch.fnmatchcase(name, self.module)):
            return False
        if self.file is None:
            return True
        shown = {Path(file).as_posix(), _relative(file, Path.cwd())} if file else set()
        return any(fnmatch.fnmatchcase(path, self.file) for path in shown)


class Place(NamedTuple):
    """What a finding is recognised by: name of module or parameter ("" for none), file (None for none)."""

    code: str
    name: str
    file: str | None


@dataclass(frozen=True)
class Acceptance:
    """What is accepted; `Acceptance()` is nothing.

    Attributes:
        places: of the baseline.
        folder: of the baseline, to which the files of its places are relative.
        started_in: the folder to which relative files of findings are relative.
    """

    suppressions: Sequence[Suppression] = ()
    places: frozenset[Place] = frozenset()
    folder: Path = Path()
    started_in: Path = Path()

    @classmethod
    def load(cls, baseline: Path | None, suppressions: Sequence[Suppression] = ()) -> Acceptance:
        """Reads the baseline, if there is one.

        Raises:
            ConfigError: it cannot be read, or is not one.
        """
        if baseline is None:
            return cls(suppressions, started_in=Path.cwd())
        return cls(suppressions, frozenset(_read(baseline)), baseline.absolute().parent, Path.cwd())

    def without_baseline(self) -> Acceptance:
        """The suppressions alone: what a new baseline is made from."""
        return replace(self, places=frozenset())

    def __call__(self, finding: Finding) -> tuple[Finding | None, str]:
        """What is left to report of `finding`, None if all its places are accepted; and why others are not."""
        first, *others = _named(finding)
        reasons = {place: self._reason(place) for place in (first, *others)}
        left = [place for place in reasons if not reasons[place]]
        if not left:
            return None, reasons[first]
        if len(left) == len(reasons) or not others:
            return finding, ""
        names: Evidence = [place.name for place in left if place != first]
        return replace(finding, evidence={**finding.evidence, _ALSO_AT: names}), ""

    def _reason(self, place: Place) -> str:
        for suppression in self.suppressions:
            if suppression.covers(*place):
                return f"suppressed: {suppression.reason}"
        if self.places:
            file = _relative(self.started_in / place.file, self.folder) if place.file else None
            # The line of a place is not always known, and then neither is its file.
            if any(
                (place.code, place.name) == known[:2] and (not file or known.file in (None, file))
                for known in self.places
            ):
                return IN_BASELINE
        return ""


def write_baseline(findings: Iterable[Finding], path: Path, *, tool: str) -> int:
    """Writes a baseline that accepts `findings`, with their symptoms, whole or not at all; returns how many places.

    Raises:
        ConfigError: it cannot be written; what was there before still is.
    """
    folder = path.absolute().parent
    entries: dict[Place, dict[str, Any]] = {}
    for finding in _flattened(findings):
        for code, name, file in _named(finding):
            place = Place(code, name, _relative(file, folder) if file else None)
            entries.setdefault(place, {"code": code, "where": name, "file": place.file, "message": finding.message})
    listed = [entries[place] for place in sorted(entries, key=str)]
    text = json.dumps({"version": VERSION, "tool": tool, "findings": listed}, indent=2) + "\n"
    try:
        replace_file(path, lambda stream: stream.write(text.encode()))
    except OSError as error:
        raise ConfigError(f"--write-baseline {path}: cannot be written: {error.strerror or error}") from error
    return len(listed)


def _read(path: Path) -> Iterator[Place]:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_BYTES:,} bytes")
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict) or not isinstance(data.get("findings"), list):
            raise ValueError('it has no list "findings"')
        if not isinstance(data.get("version"), int) or data["version"] > VERSION:
            raise ValueError(f"it has version {data.get('version')!r}; this program reads {VERSION}")
        for entry in data["findings"]:
            code, name, file = map(entry.get, ("code", "where", "file")) if isinstance(entry, dict) else (None,) * 3
            if not isinstance(code, str) or not isinstance(name, str) or not isinstance(file, str | None):
                raise ValueError(f'an entry lacks "code" or "where", or they are no texts: {str(entry)[:100]}')
            yield Place(code, name, file)
    except FileNotFoundError:
        raise ConfigError(
            f"baseline {path}: there is no such file. `diagnose run --write-baseline {path} ...` makes it."
        ) from None
    except OSError as error:
        raise ConfigError(f"baseline {path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"baseline {path}: not written by `diagnose run --write-baseline`: {error}") from None


def _named(finding: Finding) -> Iterator[Place]:
    """All places of a finding, first the one that it shows; in the list of others, lines are told apart from names."""
    where = finding.where
    yield Place(finding.code, where.parameter or where.module or "", where.file)
    others = finding.evidence.get(_ALSO_AT)
    for other in others if isinstance(others, list | tuple) else ():
        text = str(other)
        if found := re.fullmatch(r"(.+) \((.+):\d+\)", text):
            yield Place(finding.code, found[1], found[2])
        elif found := re.fullmatch(r"(.+):\d+", text):
            yield Place(finding.code, "", found[1])
        else:
            yield Place(finding.code, text, None)


def _flattened(findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in findings:
        yield finding
        yield from _flattened(finding.symptoms)


def _relative(file: str | Path, folder: Path) -> str:
    """`file` as seen from `folder`, with slashes; as it is where there is no way (another drive)."""
    try:
        return Path(os.path.relpath(os.path.realpath(file), os.path.realpath(folder))).as_posix()
    except ValueError:
        return Path(file).as_posix()
