"""The JSON report as a file; `report.py` says what is in it."""

from __future__ import annotations

import json
from pathlib import Path

from diagnose.report import Report
from diagnose.storage import replace_file


def json_text(report: Report) -> str:
    """The report as strict JSON (no NaN), ASCII only, ending with a newline."""
    return json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n"


def write_json(report: Report, path: Path) -> None:
    """Writes the report to `path`, whole or not at all.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    text = json_text(report)
    replace_file(path, lambda file: file.write(text.encode()))
