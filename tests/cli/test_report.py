"""`diagnose report RUN_DIR`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diagnose.cli import main
from diagnose.history import History
from diagnose.storage import RunDirectory

pytestmark = pytest.mark.usefixtures("made_up_rules")


@pytest.fixture
def run_dir() -> str:
    """A stored run that gives `loss-says-x`; `norm-says-y` cannot run."""
    history = History()
    for step in range(1, 11):
        history.record("loss", step, {"train.py:3": 0.75})
    history.run.steps, history.run.ending = 10, "finished"
    directory = RunDirectory.create(Path("runs/a"))
    directory.save(history)
    return "runs/a"


def test_summary_on_stdout(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", run_dir]) == 0
    captured = capsys.readouterr()
    assert "training can be better: 1 warning" in captured.out
    assert "evidence  loss 0.75 (limit 0.5)" in captured.out
    assert captured.out.endswith(f"stored    {Path('runs/a')}\n")
    assert "norm-says-y" not in captured.out
    assert captured.err == ""


def test_verbose(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", run_dir, "--verbose"]) == 0
    assert "not run   norm-says-y: needs grad_norm" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["runs/a", "--json"], ["--json", "runs/a"], ["runs/a", "--json", "-"]])
def test_json_on_stdout(run_dir: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "at-risk"
    assert report["run"]["directory"] == str(Path("runs/a").absolute())
    assert report["not_run"] == {"norm-says-y": "not run: needs grad_norm"}


def test_json_into_a_file_beside_the_summary(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", run_dir, "--json", "out.json"]) == 0
    assert "training can be better" in capsys.readouterr().out
    assert json.loads(Path("out.json").read_text())["findings"][0]["code"] == "loss-says-x"


def test_json_that_cannot_be_written(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", run_dir, "--json", "missing/out.json"]) == 2
    assert "--json missing/out.json: cannot be written: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-on", "never"], 0),
        (["--fail-on", "error"], 0),
        (["--fail-on", "warning"], 3),
        (["--fail-on", "warning", "--ignore", "loss-says-x"], 0),
        (["--fail-on", "warning", "--select", "norm-says-y"], 0),
        (["--fail-on", "warning", "--json"], 3),
    ],
)
def test_exit_codes(run_dir: str, options: list[str], code: int) -> None:
    assert main(["report", run_dir, *options]) == code


def test_thresholds_of_the_file(run_dir: str) -> None:
    Path("pyproject.toml").write_text("[tool.diagnose.rules.loss-says-x]\nlimit = 0.9")
    assert main(["report", run_dir, "--fail-on", "warning"]) == 0
    Path("pyproject.toml").write_text("[tool.diagnose]\nfail-on = 'warning'")
    assert main(["report", run_dir]) == 3


def test_a_baseline_leaves_what_is_new(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", run_dir, "--write-baseline", "known.json", "--fail-on", "warning"]) == 3
    assert [entry["code"] for entry in json.loads(Path("known.json").read_text())["findings"]] == ["loss-says-x"]
    capsys.readouterr()
    assert main(["report", run_dir, "--baseline", "known.json", "--fail-on", "warning"]) == 0
    out = capsys.readouterr().out
    assert "diagnose: healthy" in out and "accepted  1 finding not shown: 1 in the baseline\n" in out
    main(["report", run_dir, "--baseline", "known.json", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["findings"] == []
    assert [(f["code"], f["reason"]) for f in report["accepted"]] == [("loss-says-x", "in the baseline")]


def test_a_baseline_written_under_a_baseline_holds_the_old_ones_too(run_dir: str) -> None:
    main(["report", run_dir, "--write-baseline", "known.json"])
    before = Path("known.json").read_text()
    assert main(["report", run_dir, "--baseline", "known.json", "--write-baseline", "known.json"]) == 0
    assert Path("known.json").read_text() == before


def test_a_baseline_that_is_none(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", run_dir, "--baseline", "missing.json"]) == 2
    assert "diagnose: baseline missing.json: there is no such file." in capsys.readouterr().err
    Path("garbage.json").write_text("garbage")
    assert main(["report", run_dir, "--baseline", "garbage.json"]) == 2
    assert "diagnose: baseline garbage.json: not written by" in capsys.readouterr().err
    assert main(["report", run_dir, "--write-baseline", "missing/known.json"]) == 2
    assert "--write-baseline missing/known.json: cannot be written" in capsys.readouterr().err


def test_a_finding_is_suppressed_with_a_reason(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = '[[tool.diagnose.suppress]]\ncode = "loss-says-x"\nreason = "known since May"\n'
    Path("pyproject.toml").write_text(table)
    assert main(["report", run_dir, "--fail-on", "warning"]) == 0
    assert "1 finding not shown: 1 suppressed: known since May" in capsys.readouterr().out
    main(["report", run_dir, "--write-baseline", "known.json"])
    assert json.loads(Path("known.json").read_text())["findings"] == []
    Path("pyproject.toml").write_text(table + 'module = "encoder.*"\n')
    assert main(["report", run_dir, "--fail-on", "warning"]) == 3


def test_sarif_beside_the_summary(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", run_dir, "--sarif", "out.sarif"]) == 0
    assert "training can be better" in capsys.readouterr().out
    (sarif,) = json.loads(Path("out.sarif").read_text())["runs"]
    assert [result["ruleId"] for result in sarif["results"]] == ["loss-says-x"]
    assert [rule["id"] for rule in sarif["tool"]["driver"]["rules"]] == ["loss-says-x", "norm-says-y"]
    assert main(["report", run_dir, "--sarif", "missing/out.sarif"]) == 2
    assert "--sarif missing/out.sarif: cannot be written" in capsys.readouterr().err


def test_a_run_that_was_killed(capsys: pytest.CaptureFixture[str]) -> None:
    history = History()
    history.record("loss", 1, {"a": 0.1})
    history.run.steps = 1
    RunDirectory.create(Path("killed")).save(history)
    assert main(["report", "killed/history.npz"]) == 0
    assert "ended     not finished, or killed\n" in capsys.readouterr().out


def test_nothing_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "missing"]) == 2
    assert "diagnose: missing: no run is stored there" in capsys.readouterr().err
    Path("garbage").write_text("garbage")
    assert main(["report", "garbage"]) == 2
    assert "diagnose: garbage: not a run of torch-diagnose, or damaged" in capsys.readouterr().err
