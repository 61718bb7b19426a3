"""`diagnose rules`: what can be found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagnose.cli._parser import RAW

if TYPE_CHECKING:
    from diagnose.rules import Rule


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "rules",
        help="list all rules",
        description="Lists the code of every rule and what it finds, plugins included.",
        epilog="examples:\n  diagnose rules\n  diagnose rules --json | jq '.[].code'\n",
        formatter_class=RAW,
    )
    parser.add_argument("--json", action="store_true", help="as JSON, with thresholds and needed quantities")
    parser.set_defaults(execute=execute, parser=parser)


def execute(options: argparse.Namespace) -> int:
    """Prints the list on stdout."""
    from diagnose.cli._output import print_text
    from diagnose.rules import all_rules, broken_plugins

    print_text(_as_json(all_rules()) if options.json else _as_text(all_rules()))
    for name, problem in broken_plugins().items():
        print(f"diagnose: the plugin {name} could not be loaded: {problem}", file=sys.stderr)
    return 0


def _as_json(rules: Mapping[str, Rule]) -> str:
    import json

    listed = [
        {
            "code": rule.code,
            "summary": rule.summary,
            "needs": rule.needs,
            "explains": rule.explains,
            "thresholds": rule.thresholds,
            "since": rule.since,
        }
        for rule in rules.values()
    ]
    return json.dumps(listed, indent=2, default=str)


def _as_text(rules: Mapping[str, Rule]) -> str:
    """A line per rule; wrapped only for a terminal, so that a pipe gets whole lines."""
    import shutil
    import textwrap

    width = max(map(len, rules), default=0) + 2
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
    lines = (
        textwrap.fill(
            rule.summary,
            max(columns, width + 20),
            initial_indent=f"{code:<{width}}",
            subsequent_indent=" " * width,
        )
        for code, rule in rules.items()
    )
    return "\n".join(lines)
