"""The command line; one command per file.

Each command's module has `add_parser` and `execute`. Only `execute` imports what the command works with: the
parser is built before a training script runs, and `--help` has to be there at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from diagnose.cli import check, check_gradients, explain, mistakes, report, rules, run
from diagnose.cli._parser import Overview, Parser, reject
from diagnose.errors import DiagnoseError

__all__ = ["main"]

USAGE_ERROR: Final = 2
BROKEN_PIPE: Final = 141

_EPILOG: Final = """\
examples:
  diagnose run train.py --epochs 3     run it, then say what is wrong
  diagnose run -m package.train        the same for a module
  diagnose explain dead-units          what a finding means, what to do about it
  diagnose report diagnose-runs/train-20260102-030405
  diagnose check train.py:make_all     try out the model on one batch
  diagnose check-gradients ops.py:make_op
  diagnose mistakes train.py:make_trained --out mistakes

`diagnose COMMAND --help` says more about each.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code of the process.

    0 all is well, 1 a check found a fault, 2 wrong usage or input, 3 a finding reached `--fail-on`; `run` passes on
    the script's own code if that is not 0.

    Args:
        argv: the arguments without the name of the program; by default those of the process.

    Raises:
        KeyboardInterrupt: Ctrl-C; let it pass to the top, see `program.run`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parser()
    try:
        options = _parse(arguments, parser, commands)
    except SystemExit as end:  # argparse has said why, or shown the help
        return end.code if isinstance(end.code, int) else USAGE_ERROR
    try:
        code: int = options.execute(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except DiagnoseError as error:
        print(f"diagnose: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:
        # `diagnose rules | head`. The interpreter must find nothing left to flush at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def _parser() -> tuple[Parser, dict[str, Parser]]:
    """The whole parser, and those of the commands."""
    parser = Parser(
        prog="diagnose",
        description="A linter for training runs: what is wrong, how it knows, what to do.",
        epilog=_EPILOG,
        formatter_class=Overview,
    )
    parser.add_argument("--version", action=_ShowVersion, help="show the version and exit")
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in (run, explain, rules, report, check, check_gradients, mistakes):
        module.add_parser(commands)
    return parser, commands.choices


def _parse(arguments: list[str], parser: Parser, commands: dict[str, Parser]) -> argparse.Namespace:
    if not arguments:
        parser.print_help(sys.stderr)
        sys.exit(USAGE_ERROR)
    command = arguments[0]
    if command == "run":
        return run.parse(arguments[1:], commands["run"])
    if not command.startswith("-") and command not in commands:
        if Path(command).is_file():
            parser.error(f"there is no command {command!r}. To run a script: diagnose run {command}")
        reject(parser, f"there is no command {command!r}.", command, commands)
    options: argparse.Namespace = parser.parse_args(arguments)
    return options


class _ShowVersion(argparse.Action):
    """Like argparse's own, but the version is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from diagnose.report import package_version

        print(f"torch-diagnose {package_version()}")
        parser.exit()
