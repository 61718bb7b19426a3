"""`diagnose run`: which part of the command line is whose, and what reaches the launcher."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.cli import main
from diagnose.config import Config
from diagnose.errors import RunDirectoryError
from diagnose.program import Program, ProgramError

Calls = list[tuple[Program, Config]]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What the launcher is called with; it returns 7."""
    calls: Calls = []

    def launch(program: Program, config: Config) -> int:
        calls.append((program, config))
        return 7

    module: Any = types.ModuleType("diagnose.launch")
    module.launch = launch
    monkeypatch.setitem(sys.modules, "diagnose.launch", module)
    return calls


@pytest.mark.parametrize(
    ("arguments", "program"),
    [
        (["train.py"], Program("train.py", ())),
        (["train.py", "--json", "x", "--budget"], Program("train.py", ("--json", "x", "--budget"))),
        (
            ["--live", "train.py", "-m", "--", "a b", ""],
            Program("train.py", ("-m", "--", "a b", "")),
        ),
        (["--", "train.py", "--", "x"], Program("train.py", ("--", "x"))),
        (["--live", "--", "-odd-name.py"], Program("-odd-name.py", ())),
        (["--run-dir", "-m", "train.py"], None),
        (["-m", "package.train", "--help"], Program("package.train", ("--help",), is_module=True)),
        (["-mtrain", "--version"], Program("train", ("--version",), is_module=True)),
        (["-v", "--json=a.json", "-m", "train", "-m"], Program("train", ("-m",), is_module=True)),
        (["--json", "train.py", "other.py"], Program("other.py", ())),
        (["-", "x"], Program("-", ("x",))),
    ],
)
def test_where_our_part_ends(arguments: list[str], program: Program | None, launched: Calls) -> None:
    code = main(["run", *arguments])
    if program is None:
        assert (code, launched) == (2, [])
    else:
        assert code == 7
        assert [called for called, _ in launched] == [program]


@given(arguments=st.lists(st.text() | st.sampled_from(["--", "-m", "--help", "-h", "--json", "--live", "--version"])))
def test_the_scripts_arguments_are_untouched(arguments: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        calls: list[Program] = []
        module: Any = types.ModuleType("diagnose.launch")
        module.launch = lambda program, _config: calls.append(program) or 0
        patch.setitem(sys.modules, "diagnose.launch", module)
        assert main(["run", "--no-live", "train.py", *arguments]) == 0
        assert main(["run", "-m", "train", *arguments]) == 0
    assert calls == [
        Program("train.py", tuple(arguments)),
        Program("train", tuple(arguments), is_module=True),
    ]


def test_options(launched: Calls, made_up_rules: object) -> None:
    options = (
        "--run-dir a --json b.json --budget 0.5 --schedule every --no-tensorboard --live "
        "--select loss-says-x,norm-says-y --select rule-error --ignore loss-says-x, --fail-on error --verbose"
    )
    main(["run", *options.split(), "train.py"])
    main(["run", "train.py"])
    assert [config for _, config in launched] == [
        Config(
            run_dir=Path("a"),
            json=Path("b.json"),
            budget=0.5,
            schedule="every",
            tensorboard=False,
            live=True,
            select=("loss-says-x", "norm-says-y", "rule-error"),
            ignore=("loss-says-x",),
            fail_on="error",
            verbose=True,
        ),
        Config(),
    ]


def test_the_command_line_overrides_the_file_of_the_current_directory(launched: Calls, made_up_rules: object) -> None:
    Path("pyproject.toml").write_text(
        "[tool.diagnose]\nbudget = 0.25\nlive = true\nfail-on = 'error'\nignore = ['norm-says-y']"
    )
    main(["run", "train.py"])
    main(["run", "--budget", "0.5", "--no-live", "--fail-on", "never", "--ignore", "", "train.py"])
    assert [config for _, config in launched] == [
        Config(budget=0.25, live=True, fail_on="error", ignore=("norm-says-y",)),
        Config(budget=0.5),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--budget", "2"],
            "diagnose: option budget = 2.0: expected a number above 0 and at most 1",
        ),
        (
            ["--select", "loss-say-x"],
            'diagnose: select: there is no rule "loss-say-x". Did you mean "loss-says-x"?',
        ),
        (["--ignore", "qqqq"], 'there is no rule "qqqq". `diagnose rules` lists all.'),
    ],
)
def test_impossible_values(
    options: list[str],
    message: str,
    launched: Calls,
    made_up_rules: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", *options, "train.py"]) == 2
    assert message in capsys.readouterr().err
    assert launched == []


def test_a_garbage_file_stops_before_anything_runs(launched: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pyproject.toml").write_text("[tool.diagnose]\nbudget = ")
    assert main(["run", "train.py"]) == 2
    assert "pyproject.toml: not valid TOML" in capsys.readouterr().err
    assert launched == []
    assert not Path("diagnose-runs").exists()


@pytest.mark.parametrize("error", [ProgramError("no such script"), RunDirectoryError("no room")])
def test_errors_of_the_launcher(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def launch(*_: object) -> int:
        raise error

    module: Any = types.ModuleType("diagnose.launch")
    module.launch = launch
    monkeypatch.setitem(sys.modules, "diagnose.launch", module)
    assert main(["run", "train.py"]) == 2
    assert capsys.readouterr().err == f"diagnose: {error}\n"


def test_for_real() -> None:
    Path("train.py").write_text("import sys; print(sys.argv, __name__); sys.exit(5)")
    command = [
        sys.executable,
        "-m",
        "diagnose",
        "run",
        "--budget",
        "0.1",
        "train.py",
        "--budget",
        "--",
        "x",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert done.stdout == "['train.py', '--budget', '--', 'x'] __main__\n"


def test_nothing_heavy_before_the_script() -> None:
    Path("train.py").write_text("import sys; print({'torch', 'numpy', 'rich', 'tensorboard'} & set(sys.modules))")
    command = [sys.executable, "-m", "diagnose", "run", "--ignore", "rule-error", "train.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
