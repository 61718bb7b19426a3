"""What the tests of one session have shown: a JSON file for each, an index, and a summary. Imports no torch.

    DIR/index.json          {"version": 1, "tool": ..., "tests": [{"test", "outcome", "file", "errors", ...}]}
    DIR/index.md            the same for people, as for $GITHUB_STEP_SUMMARY
    DIR/tests/NAME.json     {"version": 1, "tool", "test", "outcome", "rerun", "wall_s", "watched", "assertions"}

`watched` is the report of `diagnose run --json`, null if no training was watched. Keys are added, never renamed or
removed, as long as `version` stays. Only the main process of a session writes, each file whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from diagnose.findings import Finding, Severity
from diagnose.report import Report, tool_name
from diagnose.sinks import wording
from diagnose.storage import check_writable, replace_file
from diagnose.testing._record import TestRecord

VERSION: Final = 1
PROPERTY: Final = "diagnose"
"""Name of the user property of a test's report."""

SLOWEST: Final = 3
SHOWN: Final = 20
"""Tests with findings in the summary of the terminal."""


def packed(record: TestRecord) -> str:
    """A record as it travels: one string, which every protocol between processes takes."""
    return json.dumps(record.to_json(), separators=(",", ":"))


class Results:
    """The results of one session.

    Args:
        directory: where they are written; None for nowhere.

    Raises:
        RunDirectoryError: it cannot be written.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.tests: dict[str, dict[str, Any]] = {}
        self._failed = False
        if directory is not None:
            check_writable(directory / "tests" / "any.json")
            self._forget_earlier(directory)

    def add(self, test: str, when: str | None, outcome: str, text: str) -> None:
        """Takes what a phase of a test has brought: the later phase knows more, of a test that is run again as well."""
        data = json.loads(text)
        if when == "teardown" and outcome == "passed":
            outcome = self.tests.get(test, {}).get("outcome", outcome)
        self.tests[test] = {"version": VERSION, "tool": tool_name(), **data, "test": test, "outcome": outcome}
        if when == "teardown":
            self._write(test)

    def finish(self) -> None:
        """Writes the index, and the tests that never came to an end."""
        if self.directory is None or self._failed:
            return
        for test in self.tests:
            if not self._file(test).exists():
                self._write(test)
        rows = [self._row(test) for test in sorted(self.tests)]
        index = {"version": VERSION, "tool": tool_name(), "tests": rows}
        self._replace(self.directory / "index.json", json.dumps(index, indent=2) + "\n")
        self._replace(self.directory / "index.md", _markdown(rows, self.tests))

    def summary(self) -> list[str]:
        """Lines for the terminal; none if no test has used anything of ours."""
        if not self.tests:
            return []
        found = {test: findings for test in sorted(self.tests) if (findings := list(_findings(self.tests[test])))}
        grave = {test: findings for test, findings in found.items() if any(map(_is_grave, findings))}
        lines = []
        for test, findings in list(grave.items())[:SHOWN]:
            lines.append(f"{test}  ({self.tests[test]['outcome']})")
            for finding in filter(_is_grave, findings):
                lines.append(f"  {finding.severity.value.upper():<8}{wording.short(finding, Report())}")
                lines.append(f"          {wording.visible(finding.message)}")
        if len(grave) > SHOWN:
            lines.append(f"... and {len(grave) - SHOWN} more tests with findings")
        watched = sum(data["watched"] is not None for data in self.tests.values())
        asserted = sum(len(data["assertions"]) for data in self.tests.values())
        with_findings = f"{len(grave)} with findings" if grave else "no findings"
        lines.append(
            f"{wording.counted(len(self.tests), 'test')} looked at training ({watched} watched, "
            f"{wording.counted(asserted, 'assertion')}), {with_findings}"
        )
        slowest = sorted(self.tests, key=lambda test: -self.tests[test]["wall_s"])[:SLOWEST]
        lines += [
            f"slowest: {wording.duration(self.tests[test]['wall_s'])} {test}{self._cost(test)}" for test in slowest
        ]
        lines += [f"explained by: diagnose explain {code}" for code in sorted(_codes(grave))]
        if self.directory is not None and not self._failed:
            lines.append(f"report: {wording.shortest_path(self.directory / 'index.json')}")
        return lines

    def _cost(self, test: str) -> str:
        data = self.tests[test]
        parts = [f"{a['name']} {wording.duration(a['wall_s'])}" for a in data["assertions"]]
        if data["watched"] is not None:
            parts.append(f"{wording.counted(data['watched']['run']['steps'], 'step')} watched")
        return f" ({', '.join(parts)})"

    def _row(self, test: str) -> dict[str, Any]:
        data = self.tests[test]
        findings = list(_findings(data))
        assert self.directory is not None
        return {
            "test": test,
            "outcome": data["outcome"],
            "file": self._file(test).relative_to(self.directory).as_posix(),
            "wall_s": data["wall_s"],
            "errors": sum(finding.severity is Severity.ERROR for finding in findings),
            "warnings": sum(finding.severity is Severity.WARNING for finding in findings),
            "codes": sorted({finding.code for finding in findings}),
        }

    def _file(self, test: str) -> Path:
        """A name that says which test it is, and that no other test has."""
        assert self.directory is not None
        readable = re.sub(r"[^\w.-]+", "-", test).strip("-.")[:100]
        return self.directory / "tests" / f"{readable}-{hashlib.sha256(test.encode()).hexdigest()[:8]}.json"

    def _write(self, test: str) -> None:
        if self.directory is not None:
            self._replace(self._file(test), json.dumps(self.tests[test], indent=2) + "\n")

    def _replace(self, path: Path, text: str) -> None:
        """Writes a file; a disk that is full does not fail the tests."""
        if self._failed:
            return
        try:
            replace_file(path, lambda stream: stream.write(text.encode()))
        except OSError:
            self._failed = True

    def _forget_earlier(self, directory: Path) -> None:
        """Removes the tests of an earlier session, which would be taken for this one's."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            index = json.loads((directory / "index.json").read_bytes())
            for row in index["tests"]:
                file = Path(row["file"])
                if file.parent == Path("tests") and file.suffix == ".json":
                    (directory / file).unlink(missing_ok=True)
            (directory / "index.json").unlink()


def _findings(data: dict[str, Any]) -> Iterator[Finding]:
    """All findings of a test, each once: an assertion in a watched test tells of the same training."""
    seen = set()
    sources = [*(data["watched"] or {}).get("findings", ()), *(f for a in data["assertions"] for f in a["findings"])]
    for source in sources:
        finding = Finding.from_json(source)
        key = (finding.code, str(finding.where))
        if key not in seen:
            seen.add(key)
            yield finding


def _is_grave(finding: Finding) -> bool:
    return finding.severity.at_least(Severity.WARNING)


def _codes(found: dict[str, list[Finding]]) -> set[str]:
    return {finding.code for findings in found.values() for finding in findings if _is_grave(finding)}


def _markdown(rows: list[dict[str, Any]], tests: dict[str, dict[str, Any]]) -> str:
    lines = ["# Training, as the tests saw it", "", "| Test | Outcome | Findings | Seconds |", "|---|---|---|---|"]
    for row in rows:
        findings = [f"{f.severity.value}: {f.code}" for f in _findings(tests[row["test"]])]
        cells = (f"`{row['test']}`", row["outcome"], "; ".join(findings) or "none", f"{row['wall_s']:.2f}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
