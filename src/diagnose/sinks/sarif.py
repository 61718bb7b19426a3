"""The findings as SARIF 2.1.0, which code scanning services read.

A finding is a *result*: its level, its message, the line of the user's source where that is known, the module
or parameter as a logical location, and a fingerprint that is the same in the next run, so that a service can
tell old findings from new ones. A rule is a *reporting descriptor* with its page as help.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0"; GitHub, "SARIF support for code
scanning", for what is read and how long it may be.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from diagnose.findings import Finding, Severity
from diagnose.report import Report, package_version
from diagnose.sinks import wording
from diagnose.storage import replace_file

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
HOME: Final = "https://pypi.org/project/torch-diagnose/"
ROOT: Final = "SRCROOT"
FINGERPRINT: Final = "diagnose/v1"
_LEVELS: Final[Mapping[Severity, str]] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "note",
}


def write_sarif(report: Report, path: Path, pages: Mapping[str, str], *, folder: Path | None = None) -> None:
    """Writes `sarif_text` to `path`, whole or not at all.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    text = sarif_text(report, pages, folder=folder)
    replace_file(path, lambda file: file.write(text.encode()))


def sarif_text(report: Report, pages: Mapping[str, str], *, folder: Path | None = None) -> str:
    """The log as strict JSON, ASCII only.

    Args:
        pages: the pages of the rules, in Markdown, by code; all of them are listed, so that a service knows which
            rules found nothing.
        folder: where the sources lie that file names are relative to; by default the current folder.
    """
    folder = (folder or Path.cwd()).absolute()
    codes = list(
        dict.fromkeys([*sorted(pages), *(f.code for f in report.findings), *(f.code for f, _ in report.accepted)])
    )
    run = {
        "tool": {
            "driver": {
                "name": "torch-diagnose",
                "semanticVersion": package_version(),
                "informationUri": HOME,
                "rules": [_rule(code, pages.get(code, "")) for code in codes],
            }
        },
        "originalUriBaseIds": {ROOT: {"uri": folder.as_uri().rstrip("/") + "/"}},
        "columnKind": "unicodeCodePoints",
        "automationDetails": {"id": "torch-diagnose/"},
        "invocations": [{"executionSuccessful": report.run.ending in ("finished", "exit")}],
        "results": [
            *(_result(finding, report, codes, folder) for finding in report.findings),
            *(_suppressed(finding, reason, report, codes, folder) for finding, reason in report.accepted),
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False) + "\n"


def _rule(code: str, page: str) -> dict[str, Any]:
    summary = wording.visible(page.partition("\n")[0] or code) or "unnamed"
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in code.split("-")),
        "shortDescription": {"text": summary},
        "fullDescription": {"text": summary},
        "help": {"text": _plain(page) or summary, "markdown": page.strip() or summary},
        "helpUri": f"{HOME}#{quote(code, errors='replace')}",
        "properties": {"tags": ["machine-learning", "training"]},
    }


def _plain(page: str) -> str:
    """Markdown without its marks, for readers that show text only."""
    return re.sub(r"^#+ |[`*]{1,2}", "", page, flags=re.MULTILINE).strip()


def _result(finding: Finding, report: Report, codes: list[str], folder: Path) -> dict[str, Any]:
    explained = [f"It explains {wording.short(symptom, report)}." for symptom in finding.symptoms]
    parts = [finding.message, finding.cause, finding.remedy and f"To try: {finding.remedy}", *explained]
    names = [finding.where.parameter or finding.where.module or "", *_others(finding)]
    fingerprint = _fingerprint(finding, folder)
    return {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": _LEVELS[finding.severity],
        "message": {"text": "\n".join(wording.visible(part) for part in parts if part) or "unnamed"},
        "locations": [_location(finding, report, folder, [name for name in names if name])],
        # GitHub reads the second; with one that does not depend on the line, findings move with their code.
        "partialFingerprints": {FINGERPRINT: fingerprint, "primaryLocationLineHash": f"{fingerprint}:1"},
        "properties": {
            "firstStep": finding.first_step,
            "lastStep": finding.last_step,
            "evidence": dict(wording.evidence(finding)),
        },
    }


def _suppressed(finding: Finding, reason: str, report: Report, codes: list[str], folder: Path) -> dict[str, Any]:
    why = wording.visible(reason)
    return {
        **_result(finding, report, codes, folder),
        "suppressions": [{"kind": "external", "status": "accepted", "justification": why}],
    }


def _location(finding: Finding, report: Report, folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Where it is. Code scanning shows nothing without a file: what has none is shown at the script that was run."""
    where = finding.where
    location: dict[str, Any] = {}
    if file := where.file or _script(report, folder):
        region = {"region": {"startLine": where.line}} if where.file and where.line and where.line > 0 else {}
        location["physicalLocation"] = {"artifactLocation": _artifact(file, folder), **region}
    if logical := list(_logical(finding, names)):
        location["logicalLocations"] = logical
    return location


def _script(report: Report, folder: Path) -> str:
    """The file that was run, "" if it cannot be told."""
    words = report.run.command.split()
    return words[0] if words and words[0].endswith(".py") and (folder / words[0]).is_file() else ""


def _logical(finding: Finding, names: Iterable[str]) -> Iterator[dict[str, str]]:
    for index, text in enumerate(filter(None, map(wording.visible, names))):
        kind = "variable" if index == 0 and finding.where.parameter else "module"
        yield {"name": text.rpartition(".")[2] or text, "fullyQualifiedName": text, "kind": kind}


def _artifact(file: str, folder: Path) -> dict[str, str]:
    """A file below `folder` relative to it, others as they are."""
    try:
        path, root = Path(os.path.realpath(folder / file)), Path(os.path.realpath(folder))
        if path.is_relative_to(root):
            return {"uri": quote(path.relative_to(root).as_posix(), errors="replace"), "uriBaseId": ROOT}
        return {"uri": path.as_uri()}
    except (ValueError, OSError):  # no name that a file can have
        return {"uri": quote(file, errors="replace")}


def _others(finding: Finding) -> list[str]:
    """The modules and parameters among the other places of a merged finding, without their lines."""
    others = finding.evidence.get(wording.ALSO_AT)
    places = [str(other) for other in others] if isinstance(others, list | tuple) else []
    return [re.sub(r" \(.+:\d+\)$", "", place) for place in places if not re.fullmatch(r"[^ ]+:\d+", place)]


def _fingerprint(finding: Finding, folder: Path) -> str:
    """The same for the same finding in the next run: neither lines nor steps nor numbers count."""
    where = finding.where
    file = _artifact(where.file, folder)["uri"] if where.file else ""
    text = "\0".join([finding.code, where.parameter or where.module or "", file])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
