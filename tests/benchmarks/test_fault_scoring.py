"""The suite of faulty and healthy scripts: how it is scored, and that every script says what is wrong with it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults import tables
from benchmarks.faults.labels import CODES_WITHOUT_RULE, Label, LabelError, parse_label, read_label
from benchmarks.faults.run import SUITE, Options, ScriptError, run_child, run_script, scripts_in
from benchmarks.faults.scoring import (
    INFO_CODES,
    CodeTally,
    Cost,
    Outcome,
    Seen,
    findings_of,
    first_is_cause,
    judge,
    summarize,
    tally_by_code,
    wrong_alarms,
)
from diagnose import Finding, Severity
from diagnose.rules import all_rules

SCRIPTS = scripts_in([SUITE])

FAULTY = Label("nan-or-inf", frozenset({"loss-diverging"}), note="A fault.")
HEALTHY = Label(None, frozenset({"dead-units"}), near="lr-zero", note="No fault.")


def seen(*findings: str) -> tuple[Seen, ...]:
    """Findings from "code" (a warning) or "(code)" (an info)."""
    return tuple(Seen(f.strip("()"), "info" if f.startswith("(") else "warning") for f in findings)


# --- verdicts


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ((), "missed"),
        (("nan-or-inf",), "caught"),
        (("dead-units", "nan-or-inf"), "caught"),
        (("loss-diverging",), "accepted"),
        (("loss-diverging", "nan-or-inf"), "caught"),
        (("dead-units",), "missed"),
        (("(nan-or-inf)",), "missed"),
        (("(loss-diverging)",), "missed"),
    ],
)
def test_a_faulty_script_is_judged_by_its_alarms(findings: tuple[str, ...], verdict: str) -> None:
    assert judge(FAULTY, seen(*findings)) == verdict


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ((), "quiet"),
        (("(lr-zero)",), "quiet"),
        (("dead-units",), "quiet"),
        (("lr-zero",), "false alarm"),
        (("dead-units", "lr-zero"), "false alarm"),
    ],
)
def test_a_healthy_script_is_judged_by_what_its_label_does_not_accept(findings: tuple[str, ...], verdict: str) -> None:
    assert judge(HEALTHY, seen(*findings)) == verdict


@pytest.mark.parametrize("code", sorted(INFO_CODES))
def test_an_info_is_enough_where_the_rule_never_says_more(code: str) -> None:
    assert judge(Label(code), seen(f"({code})")) == "caught"
    assert judge(Label("lr-zero", frozenset({code})), seen(f"({code})")) == "accepted"


def test_the_codes_whose_info_counts_are_those_that_report_nothing_else() -> None:
    severities = {
        code: {severity.name for severity in Severity if f"Severity.{severity.name}" in source_of(code)}
        for code in all_rules()
    }
    assert {code for code, names in severities.items() if names == {"INFO"}} == INFO_CODES


def source_of(code: str) -> str:
    module = sys.modules[all_rules()[code].function.__module__]
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def test_a_symptom_under_a_finding_is_no_finding() -> None:
    under = (Seen("dead-units", "error", ("nan-or-inf",)),)
    assert judge(FAULTY, under) == "missed"
    assert wrong_alarms(FAULTY, under) == {"dead-units"}
    assert judge(HEALTHY, under) == "quiet"


def test_unrelated_are_alarms_that_the_label_does_not_know() -> None:
    assert wrong_alarms(FAULTY, seen("nan-or-inf", "loss-diverging", "lr-zero", "(dead-units)")) == {"lr-zero"}
    assert wrong_alarms(FAULTY, seen("nan-or-inf")) == frozenset()


@pytest.mark.parametrize(
    ("findings", "first"),
    [
        ((), False),
        (("nan-or-inf", "lr-zero"), True),
        (("loss-diverging", "nan-or-inf"), True),
        (("(nan-or-inf)",), True),
        (("lr-zero", "nan-or-inf"), False),
        (("(lr-zero)", "nan-or-inf"), False),
    ],
)
def test_the_first_finding_counts_whatever_its_severity(findings: tuple[str, ...], first: bool) -> None:
    assert first_is_cause(FAULTY, seen(*findings)) is first


def test_findings_are_read_from_a_report() -> None:
    symptom = Finding("loss-not-decreasing", Severity.WARNING, "Nothing.")
    cause = Finding("lr-zero", Severity.ERROR, "Zero.").with_symptoms([symptom])
    note = Finding("underfitting", Severity.INFO, "High.")
    report = json.loads(json.dumps({"findings": [cause.to_json(), note.to_json()]}))
    assert findings_of(report) == (Seen("lr-zero", "error", ("loss-not-decreasing",)), Seen("underfitting", "info"))


# --- figures


def outcome(label: Label, *findings: str, plain_s: float = 2.0, watched_s: float = 3.0) -> Outcome:
    return Outcome("s.py", label, seen(*findings), Cost(9.0, plain_s), Cost(9.0, watched_s))


CRASHED = Outcome("c.py", FAULTY, plain=Cost(1.0, 1.0), failure="crashed", detail="ValueError: no")


def test_tallies_keep_faulty_scripts_and_alarms_elsewhere_apart() -> None:
    tallies = tally_by_code(
        [
            outcome(FAULTY, "nan-or-inf", "lr-zero"),
            outcome(FAULTY, "loss-diverging"),
            outcome(FAULTY),
            outcome(HEALTHY, "nan-or-inf", "dead-units", "(lr-zero)"),
            CRASHED,
        ]
    )
    assert tallies == [
        CodeTally("lr-zero", unrelated=1),
        CodeTally("nan-or-inf", faulty=3, caught=1, accepted=1, missed=1, false_alarms=1),
    ]


def test_the_summary_counts_scripts_not_findings() -> None:
    summary = summarize(
        [
            outcome(FAULTY, "nan-or-inf", "lr-zero", "memory-growth", watched_s=4.0),
            outcome(FAULTY, "loss-diverging", watched_s=5.0),
            outcome(FAULTY, watched_s=2.0),
            outcome(HEALTHY, "lr-zero", "memory-growth", watched_s=3.0),
            outcome(HEALTHY, "(lr-zero)", watched_s=3.0),
            CRASHED,
        ]
    )
    assert (summary.faulty, summary.healthy, summary.failed) == (3, 2, 1)
    assert (summary.caught, summary.accepted, summary.missed) == (1, 1, 1)
    assert (summary.false_alarms, summary.unrelated, summary.first_is_cause) == (1, 1, 2)
    assert summary.recall == pytest.approx(1 / 3)
    assert summary.recall_with_accepted == pytest.approx(2 / 3)
    assert summary.timed == 5
    assert summary.cpu_ratio == pytest.approx(1.5)
    assert summary.cpu_extra_s == pytest.approx(1.0)


def test_nothing_to_judge_is_not_perfect() -> None:
    summary = summarize([])
    assert math.isnan(summary.recall)
    assert summary.cpu_ratio is None
    assert "none to judge" in tables.summary_lines(summary)[0]


def test_a_second_run_that_says_something_else_is_counted() -> None:
    first = outcome(FAULTY, "nan-or-inf")
    same, other = (Outcome("s.py", FAULTY, first.findings, repeated=seen(f)) for f in ("nan-or-inf", "(nan-or-inf)"))
    assert not first.is_unsteady
    assert not same.is_unsteady
    assert summarize([first, same, other]).unsteady == 1


# --- what a reader sees


def test_markdown_names_what_is_not_as_labelled() -> None:
    text = tables.markdown([outcome(FAULTY), outcome(HEALTHY, "lr-zero"), outcome(FAULTY, "nan-or-inf")])
    assert "| nan-or-inf | 2 | 1 |  | 1 |  |  |" in text
    assert "| lr-zero |  |  |  |  | 1 |  |" in text
    assert "- `s.py`, nan-or-inf: missed; reported: nothing" in text
    assert "- `s.py`, healthy: false alarm; reported: lr-zero" in text
    assert text.count("`s.py`") == 2


def test_a_line_marks_what_the_label_does_not_know() -> None:
    line = tables.script_line(outcome(FAULTY, "nan-or-inf", "lr-zero", "(dead-units)"))
    assert "nan-or-inf, !lr-zero, (dead-units)" in line
    assert "ValueError: no" in tables.script_line(CRASHED)


def test_the_json_is_strict() -> None:
    plain = json.dumps(tables.as_json([CRASHED]), allow_nan=False)
    assert json.loads(plain)["scripts"][0]["verdict"] == "crashed"
    assert json.loads(plain)["summary"]["failed"] == 1


# --- running


def test_a_child_is_timed_and_one_that_fails_is_told_from_one_that_hangs() -> None:
    cost = run_child(["-c", "sum(range(3_000_000))"], timeout_s=60)
    assert cost.cpu_s > 0
    assert 0 < cost.wall_s < 60
    with pytest.raises(ScriptError, match="ZeroDivisionError") as crash:
        run_child(["-c", "1 / 0"], timeout_s=60)
    assert crash.value.how == "crashed"
    with pytest.raises(ScriptError, match=r"no end within 0\.5 s") as hang:
        run_child(["-c", "import time; time.sleep(60)"], timeout_s=0.5)
    assert hang.value.how == "timed out"


def test_a_script_that_fails_is_an_outcome(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text("# fault: none\n# note: x.\nraise SystemExit('no data')\n", encoding="utf-8")
    came = run_script(script, read_label(script), Options(jobs=1, timeout_s=60, repeat=False))
    assert came.verdict == "crashed"
    assert "no data" in came.detail


@pytest.mark.slow
def test_the_command_line_runs_a_script_and_writes_what_it_found(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text(
        "# fault: nan-or-inf\n# note: The root of a negative number.\nimport torch\n"
        "w = torch.ones(3, requires_grad=True)\noptimizer = torch.optim.SGD([w], lr=0.1)\n"
        "for _ in range(30):\n    optimizer.zero_grad()\n"
        "    torch.sqrt(w.sum() - 5).backward()\n    optimizer.step()\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(SUITE / "run.py"), str(script), "--json", str(tmp_path / "out.json")]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "faulty scripts caught under their own code: 1 of 1 (100%)" in ended.stdout
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert written["scripts"][0]["verdict"] == "caught"
    assert written["scripts"][0]["watched"]["cpu_s"] > 0


def test_folders_and_scripts_are_found_once_and_the_suites_own_programs_never(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "b.py").touch()
    assert [s.name for s in scripts_in([tmp_path, tmp_path / "a.py"])] == ["a.py", "b.py"]
    assert all(script.parent != SUITE for script in SCRIPTS)
    with pytest.raises(FileNotFoundError, match="no script at"):
        scripts_in([tmp_path / "none.py"])


# --- labels


def test_a_label_is_read_from_the_top_comments_only() -> None:
    top = "# fault: lr-zero\n# accept: underfitting, loss-not-decreasing\n# note: One line\n# and another.\n"
    expected = Label("lr-zero", frozenset({"underfitting", "loss-not-decreasing"}), note="One line and another.")
    assert parse_label(top + "\n# not this\n") == expected
    assert parse_label("# fault: none\n# near: lr-zero\n# note: x.\nimport torch\n") == Label(
        None, near="lr-zero", note="x."
    )


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import torch\n# fault: none\n# note: x.\n", "first line"),
        ("# note: x.\n# fault: none\n", "order"),
        ("# fault: none\n", "note"),
        ("# fault: none\n# fault: lr-zero\n# note: x.\n", "order"),
        ("# fault: lr-zero\n# near: lr-zero\n# note: x.\n", "healthy"),
        ("# fault: lr-zero\n# accept: lr-zero\n# note: x.\n", "itself"),
    ],
)
def test_a_label_that_makes_no_sense_is_refused(source: str, complaint: str) -> None:
    with pytest.raises(LabelError, match=complaint):
        parse_label(source)


def test_a_code_that_no_rule_has_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text("# fault: lr-zeroo\n# note: x.\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"s\.py: there is no rule lr-zeroo"):
        read_label(script, codes=all_rules())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(SUITE)))
def test_every_script_has_a_label_and_compiles(script: Path) -> None:
    read_label(script, codes=all_rules())
    compile(script.read_text(encoding="utf-8"), str(script), "exec", dont_inherit=True)


def test_every_code_has_a_faulty_script_and_a_healthy_one_that_tempts_it() -> None:
    labels = [read_label(script) for script in SCRIPTS]
    wanted = set(all_rules()) - CODES_WITHOUT_RULE
    assert wanted - {label.fault for label in labels} == set()
    assert wanted - {label.near for label in labels} == set()
