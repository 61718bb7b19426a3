"""Mistakes shown and saved: what is written is read back, and nothing in it is taken for more than text."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagnose import MistakesError
from diagnose.mistakes import Mistakes, Scores, _saving, _tables

F = np.float32


def mistakes(**options: Any) -> Mistakes:
    scores = Scores(
        task="classification",
        ids=("=1+1", "b", "c", "d"),
        loss=np.array([3, 0.1, np.nan, 2], dtype=F),
        given=np.array([0, 1, -1, 1]),
        predicted=np.array([1, 1, -1, 0]),
        confidence=np.array([0.9, 0.8, np.nan, 0.6], dtype=F),
        margin=np.array([-0.8, 0.6, np.nan, -0.2], dtype=F),
        classes=("<b>cat</b>", "dog\x1b[31m"),
        probabilities=np.array([[0.1, 0.9], [0.2, 0.8], [0.5, 0.5], [0.6, 0.4]], dtype=F),
    )
    return Mistakes(scores, **{"k": 3, **options})


def test_json_has_no_nan_and_says_what_margins_are_worth() -> None:
    data = json.loads(json.dumps(mistakes().to_json(), allow_nan=False))
    assert [entry["id"] for entry in data["rankings"]["confident"]] == ["=1+1", "d"]
    assert data["tiers"] == {"very-likely": 1, "suspect": 0, "look": 1}
    assert data["margins"]["source"] == "model" and "by heart" in data["margins"]["worth"]


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    folder = mistakes().save(tmp_path / "new" / "folder")
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["'=1+1", "b", "c", "d"], "a spreadsheet would run the formula"
    assert [row["margin"] for row in rows][2] == "" and float(rows[0]["loss"]) == 3
    assert json.loads((folder / "mistakes.json").read_text())["examples"] == 4
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(folder / "scores.parquet").to_pydict()
    assert table["id"] == ["=1+1", "b", "c", "d"] and table["tier"] == ["very-likely", None, None, "look"]


def test_saving_fails_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mistakes().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_saving, "replace_file", full)
    with pytest.raises(MistakesError, match="No space left on device"):
        mistakes(k=1).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MistakesError, match="mistakes cannot be written there"):
        mistakes().save(tmp_path / "file")


def test_the_table_with_and_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    frame = mistakes().table()
    assert isinstance(frame, pandas.DataFrame) and frame["id"].tolist() == ["=1+1", "b", "c", "d"]
    assert mistakes().table("suspects")["id"].tolist() == ["=1+1", "d"]
    monkeypatch.setattr(_tables.importlib.util, "find_spec", lambda name: None)
    plain = mistakes().table("loss")
    assert [row["id"] for row in plain] == ["=1+1", "d", "b"] and plain[0]["tier"] == "very-likely"
    with pytest.raises(MistakesError, match="ranking is 'best'"):
        mistakes().table("best")  # type: ignore[arg-type]


def test_names_are_shown_as_text() -> None:
    shown = str(mistakes())
    assert "\x1b" not in shown and "cat" in shown
    assert "<b>" not in mistakes()._repr_html_() and "&lt;b&gt;" in mistakes()._repr_html_()


class Files:
    """Examples with files, as `mine_mistakes` makes them."""

    def example(self, row: int) -> Any:
        return (f"text {row}", 0)

    def file(self, row: int) -> str | None:
        return f"images/{'x' * 60}/{row}.png"


def test_files_and_texts_stand_beside_the_numbers() -> None:
    with_files = mistakes(examples=Files())
    assert "text 0" in str(with_files)
    assert with_files.table()["file"].tolist()[3].endswith("/3.png")
    assert with_files.to_json()["rankings"]["confident"][0]["text"] == "text 0"
    described = mistakes(examples=Files(), describe=lambda example: f"<{example[0]}>")
    assert described.text("b") == "<text 1>"


def test_a_page_of_nothing() -> None:
    scores = mistakes().scores
    none = Mistakes(replace(scores, ids=(), probabilities=None, **_empty(scores)))
    assert str(none).startswith("0 examples") and none.error is None
    json.dumps(none.to_json(), allow_nan=False)


def _empty(scores: Scores) -> dict[str, Any]:
    return {name: getattr(scores, name)[:0] for name in ("loss", "given", "predicted", "confidence", "margin")}
