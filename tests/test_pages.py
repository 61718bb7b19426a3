"""The pages of codes that come from checks."""

from __future__ import annotations

import pytest

from diagnose.cli import main
from diagnose.pages import PAGES
from diagnose.rules import all_rules
from tests.support.tree import ROOT


@pytest.mark.parametrize("code", PAGES)
def test_a_page_is_shown_and_is_in_the_docs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", code]) == 0
    page = f"# {code}\n\n{PAGES[code]}"
    assert capsys.readouterr().out == page
    assert (ROOT / "docs" / "rules" / f"{code}.md").read_text(encoding="utf-8") == page


def test_no_rule_has_such_a_code() -> None:
    assert not set(PAGES) & set(all_rules())
