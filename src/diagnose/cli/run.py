"""`diagnose run`: a training script under diagnosis."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from diagnose.cli._parser import RAW, Parser, add_rule_options, rule_options

_USAGE: Final = """\
diagnose run [OPTIONS] SCRIPT [ARGS...]
       diagnose run [OPTIONS] -m MODULE [ARGS...]"""

_DESCRIPTION: Final = """\
Runs a training script as `python SCRIPT ARGS...` would, and watches it: same
output, same exit code, same numbers, bit for bit. When it ends, however it
ends, the findings are printed on stderr and stored in the run directory.
Options of ours stand before SCRIPT; all that follows it is the script's own.
"""

_EPILOG: Final = """\
examples:
  diagnose run train.py --epochs 3
  diagnose run --budget 0.005 -m package.train --lr 0.1
  diagnose run --ignore saturated-units,update-too-small train.py
  diagnose run --json report.json --fail-on error train.py   for CI
  diagnose run --write-baseline known.json train.py    accept what is there
  diagnose run --baseline known.json --fail-on warning train.py
  tensorboard --logdir diagnose-runs                         curves, histograms

The same options can stand in pyproject.toml, under [tool.diagnose]; the command
line overrides them. DIAGNOSE=0 in the environment runs the script unwatched.
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        usage=_USAGE,
        help="run a training script and say what is wrong with it",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RAW,
    )
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        type=Path,
        help="store the run there (default: a new directory below diagnose-runs)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the report as JSON")
    parser.add_argument(
        "--budget",
        metavar="SHARE",
        type=float,
        help="share of the training time that watching may take (default: 0.02, that is 2 %%)",
    )
    parser.add_argument(
        "--schedule",
        choices=("budget", "every", "seeded"),
        help="which steps to look at closely: as many as the budget allows (default); every one; "
        "or, without a clock, the same ones in each run",
    )
    parser.add_argument(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        help="write event files for TensorBoard into the run directory (default: yes)",
    )
    parser.add_argument(
        "--live",
        action=argparse.BooleanOptionalAction,
        help="show a status line while the script trains (default: no)",
    )
    parser.add_argument(
        "--probe-seconds",
        type=float,
        metavar="S",
        help="how long the model may be run again, unnoticed, on copies of a batch, to see what its outputs depend on "
        "(default: 2 seconds in all)",
    )
    parser.add_argument(
        "--no-probes",
        dest="probe_seconds",
        action="store_const",
        const=0.0,
        help="never run the model but as the script does",
    )
    parser.add_argument(
        "--track-examples",
        action=argparse.BooleanOptionalAction,
        help="keep what the network says about each training example while it learns: tells wrong labels, for "
        "`diagnose mistakes RUN_DIR` (default: no)",
    )
    add_rule_options(parser)
    parser.set_defaults(execute=execute, parser=parser)


def parse(arguments: list[str], parser: Parser) -> argparse.Namespace:
    """The options before SCRIPT or `-m MODULE`, and what follows, which argparse never sees."""
    ours, target, is_module = _split(arguments, parser)
    options: argparse.Namespace = parser.parse_args(ours)
    if not target:
        parser.error("name a MODULE after -m" if is_module else "name a SCRIPT, or a MODULE with -m")
    options.target, *options.args = target
    options.is_module = is_module
    return options


def _split(arguments: list[str], parser: Parser) -> tuple[list[str], list[str], bool]:
    """Our options; SCRIPT or MODULE with its arguments, untouched; whether it is a module."""
    with_value = parser.options_with_value()
    position = 0
    while position < len(arguments):
        word, rest = arguments[position], arguments[position + 1 :]
        if word == "--":
            return arguments[:position], rest, False
        if word == "-m":
            return arguments[:position], rest, True
        if word.startswith("-m") and not word.startswith("--"):  # as Python takes it: -mMODULE
            return arguments[:position], [word[2:], *rest], True
        if not word.startswith("-") or word == "-":
            return arguments[:position], arguments[position:], False
        position += 2 if word in with_value else 1
    return arguments, [], False


def execute(options: argparse.Namespace) -> int:
    """Runs the script; returns its exit code, 2 if there is nothing to run, 3 if `--fail-on` says so."""
    from diagnose.program import Program, ProgramError, own_imports

    with own_imports():  # the current folder may hold modules of the user's by the names of ours
        from diagnose.config import load_config
        from diagnose.launch import launch

        config = load_config(Path()).override(
            run_dir=options.run_dir,
            json=options.json,
            budget=options.budget,
            schedule=options.schedule,
            tensorboard=options.tensorboard,
            live=options.live,
            probe_seconds=options.probe_seconds,
            track_examples=options.track_examples,
            **rule_options(options),
        )
    try:
        return launch(Program(options.target, tuple(options.args), options.is_module), config)
    except ProgramError as error:
        print(f"diagnose: {error}", file=sys.stderr)
        return 2
