"""Mistakes on the disk: mistakes.json and .html, scores.csv and .parquet, worst.png; each whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from diagnose.errors import MistakesError
from diagnose.findings import json_safe
from diagnose.mistakes._grid import NothingToDrawError, write_grid
from diagnose.mistakes._page import write_page
from diagnose.mistakes._tables import columns
from diagnose.mistakes._text import counts, worth_of
from diagnose.storage import replace_file

if TYPE_CHECKING:
    from diagnose.mistakes._mistakes import Mistakes

VERSION: Final = 1
REPORT, CSV, PARQUET = "mistakes.json", "scores.csv", "scores.parquet"
PAGE, GRID = "mistakes.html", "worst.png"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def as_json(mistakes: Mistakes) -> dict[str, Any]:
    """Plain data for `json.dumps`; the scores of all examples are in the other files."""
    from diagnose.report import tool_name

    scores, error = mistakes.scores, mistakes.error
    finite = scores.loss[np.isfinite(scores.loss)]
    return {
        "version": VERSION,
        "tool": tool_name(),
        "model": mistakes.model,
        "task": scores.task,
        "examples": len(scores),
        "error": None if error is None else {"value": error.value, "low": error.low, "high": error.high},
        "mean_loss": json_safe(float(finite.mean())) if len(finite) else None,
        "classes": list(scores.classes),
        "margins": {"source": scores.source, "epochs": scores.epochs, "worth": worth_of(mistakes)},
        "tiers": counts(scores),
        "findings": [finding.to_json() for finding in mistakes.findings],
        "rankings": {
            name: [{**entry.to_json(), **_about(mistakes, entry.id)} for entry in ranking]
            for name, ranking in mistakes.rankings.items()
        },
        "confusions": [{**pair.to_json(), "ids": list(pair.ids[:10])} for pair in mistakes.confusions],
        "worst_places": [place.to_json() for place in mistakes.worst_places],
        "neighbours": [part.to_json() for part in mistakes.neighbours],
        "slices": [part.to_json() for part in mistakes.slices],
        "notes": list(mistakes.notes),
    }


def _about(mistakes: Mistakes, name: Any) -> dict[str, str]:
    about = {"file": mistakes.file(name), "text": mistakes.text(name)}
    return {key: value for key, value in about.items() if value}


def save(mistakes: Mistakes, directory: Path) -> Path:
    """Writes all files that can be written.

    Raises:
        MistakesError: the directory cannot be written.
    """
    data = columns(mistakes, np.arange(len(mistakes)))
    text = json.dumps(as_json(mistakes), indent=2, allow_nan=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(directory / CSV, lambda file: file.write(_as_csv(data).encode()))
        if importlib.util.find_spec("pyarrow") is not None:
            replace_file(directory / PARQUET, lambda file: _write_parquet(data, file))
        write_page(mistakes, directory / PAGE)
        # Of what is no picture, or of no mistakes at all, there is nothing to draw.
        with contextlib.suppress(NothingToDrawError):
            write_grid(mistakes, directory / GRID)
        # Last: who finds it, finds the others.
        replace_file(directory / REPORT, lambda file: file.write(f"{text}\n".encode()))
    except OSError as error:
        raise MistakesError(f"{directory}: mistakes cannot be written there: {error.strerror or error}") from error
    return directory


def _as_csv(data: dict[str, list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(data)
    writer.writerows([_cell(value) for value in row] for row in zip(*data.values(), strict=True))
    return text.getvalue()


def _cell(value: Any) -> Any:
    """What cannot be taken for a formula: names of files and classes come from elsewhere."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _write_parquet(data: dict[str, list[Any]], file: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if len({type(name) for name in data["id"]}) > 1:
        data = {**data, "id": [str(name) for name in data["id"]]}
    pq.write_table(pa.table(data), file)
