"""`diagnose explain CODE`: the page of a rule."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from diagnose.cli._parser import RAW

if TYPE_CHECKING:
    from diagnose.rules import Rule

WIDEST: Final = 88
"""Columns; longer lines of prose are hard to read."""

_RULE_ERROR: Final = """\
# rule-error

A rule raised an exception and was left out of this report.

This is a defect of the rule, or of the plugin that brought it, not of your training; the other rules ran.
Please report it with its traceback, which stands in the JSON report: `diagnose report RUN_DIR --json`.
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "explain",
        help="explain what a code means and what to do about it",
        description="Shows the page of a rule: what it finds, why it matters, how to fix it.",
        epilog="example:\n  diagnose explain dead-units\n",
        formatter_class=RAW,
    )
    parser.add_argument("code", metavar="CODE", help="as the findings show it; `diagnose rules` lists all")
    parser.set_defaults(execute=execute, parser=parser)


def execute(options: argparse.Namespace) -> int:
    """Prints the page on stdout: laid out in a terminal, as Markdown into a pipe."""
    from diagnose.config import RULE_ERROR, check_codes
    from diagnose.pages import PAGES
    from diagnose.rules import all_rules, broken_plugins

    rules = all_rules()
    code: str = options.code
    check_codes([code], {*rules, *PAGES, RULE_ERROR}, "explain", broken=broken_plugins())
    if code in PAGES:
        _show(f"# {code}\n\n{PAGES[code]}")
    else:
        _show(_page(rules[code]) if code in rules else _RULE_ERROR)
    return 0


def _page(rule: Rule) -> str:
    """The page of the rule with its code as title, and its thresholds as they stand in pyproject.toml."""
    page = f"# {rule.code}\n\n{rule.page.strip()}\n"
    if rule.thresholds:
        lines = [f"{name.replace('_', '-')} = {_toml(value)}" for name, value in rule.thresholds.items()]
        settings = "\n".join([f"[tool.diagnose.rules.{rule.code}]", *lines])
        page += f"\n## Thresholds\nIn pyproject.toml, with their defaults:\n\n```toml\n{settings}\n```\n"
    return page


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _show(page: str) -> None:
    from diagnose.cli._output import print_text

    if not (sys.stdout.isatty() and (sys.stdout.encoding or "").lower().startswith("utf")):
        print_text(page.rstrip())
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(page), width=min(console.width, WIDEST))
