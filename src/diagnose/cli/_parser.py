"""What the commands' parsers share: suggestions in errors, and the options about rules."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

RAW: Final = argparse.RawDescriptionHelpFormatter


class Overview(argparse.RawDescriptionHelpFormatter):
    """Lists commands with their help beside them: argparse forgets how far it indents the longest one."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2


class Parser(argparse.ArgumentParser):
    """An argument parser that takes options only as they are written, and suggests the nearest one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = getattr(known, "parser", self)
            option = unknown[0].partition("=")[0]
            reject(parser, f"unknown argument {unknown[0]!r}.", option, parser.option_names())
        return known

    def option_names(self) -> list[str]:
        """All options, in their long and their short forms."""
        return [name for action in self._actions for name in action.option_strings]

    def options_with_value(self) -> set[str]:
        """The options that are followed by a value."""
        return {name for action in self._actions if action.nargs != 0 for name in action.option_strings}


def reject(parser: Parser, problem: str, word: str, known: Iterable[str]) -> NoReturn:
    """Ends with a usage error that suggests the nearest of the `known` words."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    hint = f" Did you mean {found[0]!r}?" if found else f" See `{parser.prog} --help`."
    parser.error(problem + hint)


def add_rule_options(parser: Parser) -> None:
    """The options by which every command that shows findings can be told which, and what to make of them."""
    group = parser.add_argument_group("findings")
    group.add_argument(
        "--select",
        metavar="CODES",
        type=codes,
        action="extend",
        help="report only these, comma-separated; `diagnose rules` lists the codes",
    )
    group.add_argument(
        "--ignore",
        metavar="CODES",
        type=codes,
        action="extend",
        help="leave these out",
    )
    group.add_argument(
        "--baseline",
        metavar="FILE",
        type=Path,
        help="leave out the findings that FILE accepts: only new ones are reported",
    )
    group.add_argument(
        "--write-baseline",
        metavar="FILE",
        type=Path,
        help="accept today's findings: write them into FILE, for --baseline",
    )
    group.add_argument(
        "--sarif",
        metavar="FILE",
        type=Path,
        help="also write the findings as SARIF 2.1.0, for code scanning",
    )
    group.add_argument(
        "--fail-on",
        choices=("error", "warning", "never"),
        help="exit with code 3 if a finding is at least that severe (default: never)",
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=None,
        help="show every finding in full, what could not be seen, and the rules that could not run",
    )


def codes(text: str) -> list[str]:
    return [code.strip() for code in text.split(",") if code.strip()]


def rule_options(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_rule_options` has parsed, for `Config.override`."""
    return {
        "select": None if options.select is None else tuple(options.select),
        "ignore": None if options.ignore is None else tuple(options.ignore),
        "baseline": options.baseline,
        "write_baseline": options.write_baseline,
        "sarif": options.sarif,
        "fail_on": options.fail_on,
        "verbose": options.verbose,
    }
