"""Numbers, places and steps as people read them."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Finding, Location, Severity
from diagnose.report import OptimizerSummary, Report, RunSummary
from diagnose.sinks import wording
from tests.sinks.reports import HEALTHY, NOTHING_SEEN, TEXT, UNHEALTHY


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "", "0"),
        (3, "", "3"),
        (1234567, "", "1,234,567"),
        (10**9, "", "1e9"),
        pytest.param(10**400, "", "inf", id="huge"),
        pytest.param(-(10**400), "bytes", "-inf GiB", id="huge-bytes"),
        pytest.param(10**400, "%", "inf %", id="huge-share"),
        (4.0, "", "4"),
        (0.43123, "", "0.431"),
        (0.1, "", "0.1"),
        (12.345, "", "12.3"),
        (1234.5, "", "1,230"),
        (999999.0, "", "1e6"),
        (0.00012345, "", "0.000123"),
        (0.000099, "", "9.9e-5"),
        (-1.5e-7, "", "-1.5e-7"),
        (3.2e38, "", "3.2e38"),
        (float("nan"), "", "nan"),
        (float("-inf"), "", "-inf"),
        (0.634, "%", "63.4 %"),
        (1.0, "%", "100 %"),
        (2.5, "s", "2.5 s"),
        (512, "bytes", "512 bytes"),
        (3 * 2**20, "bytes", "3 MiB"),
    ],
)
def test_number(value: float, unit: str, text: str) -> None:
    assert wording.number(value, unit) == text


@given(value=st.floats(-1e307, 1e307))
def test_three_significant_digits(value: float) -> None:
    shown = float(wording.number(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=5.01e-3, abs=1e-323)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.3123, "0.312 s"), (42.4, "42 s"), (119.0, "119 s"), (720.0, "12 min"), (12600.0, "3.5 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def finding(**fields: Any) -> Finding:
    return Finding("x", Severity.ERROR, "", **fields)


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        ({"dead_share": 0.634, "limit": 0.5}, "dead share 63.4 % (limit 50 %)"),
        ({"ratio": 0.2, "limit": 0.1, "patience": 10}, "ratio 0.2 (limit 0.1); patience 10"),
        ({"loss": 3.0, "norm": 9.0, "loss_limit": 2.0}, "loss 3 (limit 2); norm 9"),
        ({"threshold": 2.0}, "threshold 2"),
        ({"share": 0.5, "limit": 0.1}, "share 50 % (limit 10 %)"),
        ({"dead_share_at_first": 1.0, "looked_at": 1}, "dead share at first 100 %; looked at 1"),
        ({"norm_limit": 2.0}, "norm limit 2"),
        ({"wait_s": 0.5, "held_bytes": 2048}, "wait 0.5 s; held 2 KiB"),
        ({"value": "nan", "seen": True, "other": None}, "value nan; seen yes; other unknown"),
        ({"norms": [1.0, 2.0]}, "norms 1, 2"),
        ({"by_layer": {"a": 0.25, "b": 1}}, "by layer a 0.25, b 1"),
        ({"names": list("abcdefg")}, "names a, b, c, d and 3 more"),
        ({"names": list("abcde")}, "names a, b, c, d, e"),
        ({"ratio": np.float32(0.25), "count": np.int64(3)}, "ratio 0.25; count 3"),
        ({"a": 1, "also_at": ["b", "c"]}, "a 1; also at b, c"),
        ({}, ""),
    ],
)
def test_evidence(evidence: dict[str, Any], text: str) -> None:
    assert "; ".join(f"{name} {value}" for name, value in wording.evidence(finding(evidence=evidence))) == text


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (None, None, ""),
        (3, None, "since step 3"),
        (3, 412, "since step 3"),
        (3, 380, "since step 3"),
        (3, 300, "since step 3"),
        (3, 260, "steps 3 to 260"),
        (3, 3, "at step 3"),
        (412, 412, "at step 412"),
        (1500, 1500, "at step 1,500"),
    ],
)
def test_when(first: int | None, last: int | None, text: str) -> None:
    assert wording.when(finding(first_step=first, last_step=last), HEALTHY) == text


def test_when_is_stricter_where_many_steps_are_sampled() -> None:
    report = replace(HEALTHY, run=replace(HEALTHY.run, sampled=120))
    assert wording.when(finding(first_step=3, last_step=380), report) == "since step 3"
    assert wording.when(finding(first_step=3, last_step=300), report) == "steps 3 to 300"


def test_when_looks_at_the_clock_that_can_be_meant() -> None:
    """A generator makes 100 steps while its critic makes 500."""
    optimizers = (OptimizerSummary("G", "Adam", 100), OptimizerSummary("C", "Adam", 500))
    report = Report((), {}, RunSummary(steps=600, optimizers=optimizers))
    assert wording.when(finding(first_step=3, last_step=98), report) == "since step 3"
    assert wording.when(finding(first_step=3, last_step=300), report) == "steps 3 to 300"


def test_where() -> None:
    place = Location(module="fc1", file="train.py", line=3)
    assert wording.where(finding(where=place)) == "fc1 (train.py:3)"
    assert wording.where(finding(where=place, evidence={"also_at": ["a", "b"]})) == "fc1 (train.py:3) and 2 more"
    assert wording.where(finding(evidence={"also_at": ["a", "b"]})) == "2 places"
    assert wording.where(finding()) == ""


def test_files_are_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    below, elsewhere = str(tmp_path / "src" / "train.py"), str(tmp_path.parent / "train.py")
    assert wording.where(finding(where=Location(file=below, line=3))) == f"{Path('src/train.py')}:3"
    assert wording.where(finding(where=Location(file=elsewhere, line=3))) == f"{elsewhere}:3"
    places = [Location("a", file=below, line=3), Location(file=below, line=4), Location("c", file=elsewhere, line=3)]
    also = finding(where=Location("b", file=below, line=3), evidence={"also_at": [*map(str, places), "d (1)", "e.f"]})
    ((_, shown),) = wording.evidence(also)
    assert shown == f"a, {Path('src/train.py')}:4, c ({elsewhere}:3), d (1), e.f"


def test_lines_about_the_run() -> None:
    assert wording.headline(UNHEALTHY) == "training is broken: 1 error, 1 warning"
    assert wording.headline(HEALTHY) == "healthy: nothing wrong in 412 steps"
    assert wording.headline(NOTHING_SEEN) == "nothing to diagnose: no optimizer step was seen"
    assert wording.watched(HEALTHY) == "CNN with SGD; 412 steps (38 sampled) in 12 s, overhead 1.2 %"
    adams = tuple(OptimizerSummary(name, "Adam", 1) for name in "GD")
    gan = Report((), {}, RunSummary(models=("G", "D"), optimizers=adams, steps=1))
    assert wording.watched(gan) == "G, D with 2 Adam; 1 step (0 sampled) in 0 s, overhead 0.0 %"
    assert wording.watched(NOTHING_SEEN) == "no module; 0 steps (0 sampled) in 0 s, overhead 0.0 %"
    assert wording.ending(HEALTHY) == ""
    assert wording.ending(NOTHING_SEEN) == "the script raised an exception"


def test_gaps_are_grouped_by_reason() -> None:
    run = RunSummary(not_seen={"a": "compiled", "b": "compiled", "c": ""}, failed={"updates": "KeyError"})
    report = Report((), {}, run)
    failed = "updates: switched off after an error of ours: KeyError"
    assert list(wording.gaps(report)) == [failed, "a, b: compiled", "c"]
    assert list(wording.gaps(report, all_of_them=False)) == [
        failed,
        "activations of 3 layers (--verbose says why)",
    ]
    one_reason = Report((), {}, RunSummary(not_seen=dict.fromkeys("abcdef", "compiled")))
    assert list(wording.gaps(one_reason, all_of_them=False)) == ["a, b, c, d and 2 more: compiled"]


@given(text=TEXT, encoding=st.sampled_from(["utf-8", "ascii", "cp1252", "cp437", "koi8-r"]))
def test_visible(text: str, encoding: str) -> None:
    shown = wording.visible(text, encoding)
    shown.encode(encoding)
    assert shown.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown)
    if text.isascii() and text.isprintable():
        assert shown == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("a\x1b[31mb", "utf-8", r"a\x1b[31mb"),
        ("a\n\t b\r\n", "utf-8", "a b"),
        ("a\u202eb", "utf-8", r"a\u202eb"),
        ("\udc80", "utf-8", r"\udc80"),
        ("größe ≥ 3", "utf-8", "größe ≥ 3"),
        ("größe ≥ 3", "cp1252", "größe >= 3"),
        ("größe ≥ 3", "ascii", r"gr\xf6\xdfe >= 3"),
        ("x" * 3000, "utf-8", "x" * 2000 + "..."),
    ],
)
def test_visible_by_example(text: str, encoding: str, shown: str) -> None:
    assert wording.visible(text, encoding) == shown
