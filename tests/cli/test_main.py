"""Usage, help, version, exit codes, and what starting up costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from diagnose import cli
from diagnose.cli import main


@pytest.mark.parametrize("command", ["run", "explain", "rules", "report", "check-gradients"])
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    top = capsys.readouterr().out
    assert f"    {command} " in top
    assert main([command, "--help"]) == 0
    own = capsys.readouterr().out
    assert f"  diagnose {command}" in own.partition("example")[2]
    assert max(map(len, (top + own).splitlines())) <= 80


def test_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"torch-diagnose": "1.2.3"}[name])
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "torch-diagnose 1.2.3\n"

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "torch-diagnose 0+unknown\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: diagnose"),
        (["explian", "x"], "there is no command 'explian'. Did you mean 'explain'?"),
        (["zzzzzz"], "there is no command 'zzzzzz'. See `diagnose --help`."),
        (["train.py"], "there is no command 'train.py'. To run a script: diagnose run train.py"),
        (
            ["rules", "--jsn"],
            "diagnose rules: error: unknown argument '--jsn'. Did you mean '--json'?",
        ),
        (["rules", "--js"], "unknown argument '--js'."),
        (["explain"], "the following arguments are required: CODE"),
        (["report"], "name the RUN_DIR of the run to report on"),
        (["report", "a", "--fail-on", "info"], "invalid choice: 'info'"),
        (["run"], "name a SCRIPT, or a MODULE with -m"),
        (["run", "--live"], "name a SCRIPT, or a MODULE with -m"),
        (["run", "-m"], "name a MODULE after -m"),
        (["run", "--bugdet", "train.py"], "unknown argument '--bugdet'. Did you mean '--budget'?"),
        (
            ["run", "--bugdet=0.1", "train.py"],
            "unknown argument '--bugdet=0.1'. Did you mean '--budget'?",
        ),
        (["run", "--budget", "much", "train.py"], "argument --budget: invalid float value: 'much'"),
        (["run", "--json"], "argument --json: expected one argument"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.py").touch()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -c 'import time; from diagnose.cli import main; time.sleep(0.3); exit(main())'"
    done = subprocess.run(
        ["bash", "-c", f"{command} rules | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")


def test_keyboard_interrupt_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.rules, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["rules"])


@pytest.mark.parametrize("arguments", ["['--help']", "['run', '--help']", "['run', '--bad']", "['--version']"])
def test_nothing_heavy_for_help(arguments: str) -> None:
    source = (
        f"import sys; from diagnose.cli import main; main({arguments});"
        "print(*{'torch', 'numpy', 'rich', 'tensorboard'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("\n\n") or done.stderr == "\n"


def test_python_m_diagnose() -> None:
    done = subprocess.run([sys.executable, "-m", "diagnose", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no command 'nonsense'" in done.stderr
