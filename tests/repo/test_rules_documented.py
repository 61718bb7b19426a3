"""Every rule has a page, a bad and a good program and a test file, and knows what it explains."""

from __future__ import annotations

import subprocess
import sys

import pytest

from diagnose.rules import Rule, all_rules
from tests.support.tree import ROOT

OURS = {code: rule for code, rule in all_rules().items() if rule.function.__module__.startswith("diagnose.")}
each_rule = pytest.mark.parametrize("rule", OURS.values(), ids=OURS.keys())


def test_there_are_rules() -> None:
    assert OURS


@each_rule
def test_it_has_a_page_and_two_programs(rule: Rule) -> None:
    pages = ROOT / "docs" / "rules"
    wanted = [
        pages / f"{rule.code}.md",
        pages / rule.code / "bad.py",
        pages / rule.code / "good.py",
    ]
    assert [str(path.relative_to(ROOT)) for path in wanted if not path.is_file()] == []


@each_rule
def test_it_has_a_test_file(rule: Rule) -> None:
    name = f"test_{rule.code.replace('-', '_')}.py"
    assert list((ROOT / "tests" / "rules").rglob(name)), f"tests/rules/**/{name} is missing"


@each_rule
def test_it_is_alone_in_a_file_of_its_name(rule: Rule) -> None:
    assert rule.function.__module__.rpartition(".")[2] == rule.code.replace("-", "_")


@each_rule
def test_it_explains_rules_that_exist(rule: Rule) -> None:
    assert set(rule.explains) - set(all_rules()) == set()
    assert rule.code not in rule.explains


@each_rule
def test_its_first_line_is_a_sentence(rule: Rule) -> None:
    assert rule.summary.endswith(".")
    assert len(rule.summary) <= 110


def test_no_page_or_program_is_left_from_a_rule_that_went() -> None:
    pages = ROOT / "docs" / "rules"
    folders = {path.name for path in pages.iterdir() if path.is_dir()}
    assert folders - set(OURS) == set()


def test_the_pages_are_what_the_generator_writes() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert check.returncode == 0, check.stderr
