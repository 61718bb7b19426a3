"""`diagnose gap [RUN_DIR | FACTORY]`: why is the test error what it is, and what to change?"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diagnose.cli._parser import RAW
from diagnose.errors import ConfigError, FactoryError

if TYPE_CHECKING:
    from diagnose.gap import GapDiagnosis

STDOUT: Final = Path("-")

_DESCRIPTION: Final = """\
Says why the test error is what it is (the model is too small, it learns by
heart, the optimisation failed, labels are wrong, the evaluation is broken ...),
how sure that is, and what to change, the most promising first.

From numbers alone: --train-error and --test-error, shares of wrong answers.
RUN_DIR is what `diagnose run` or watch(run_dir=...) has stored.
FACTORY is MODULE:NAME or FILE.py:NAME, a function without arguments that
returns
  (model, train_data, test_data)            data sets, loaders, (inputs, targets)
  (model, train_data, test_data, loss_fn)
  (model, inputs, loss_fn, targets)         as for `diagnose check`: test data
  a dict of arguments of diagnose.diagnose_gap

Exit code: 0 the target is met or nothing can be told, 1 something is to be
changed, 2 wrong usage or input.
"""

_EPILOG: Final = """\
examples:
  diagnose gap --train-error 0.12 --n-train 5000 --test-error 0.15 --n-test 1000 --target 0.05
  diagnose gap --train-error 0.001 --test-error 0.08 --n-test 1000 --target 0.04 --set dropout=0 --set hidden=256
  diagnose gap diagnose-runs/train-20260102-030405 --target 0.05
  diagnose gap train.py:trained --target 0.05 --json gap.json
  diagnose gap train.py:all_for_gap --probe --probe-seconds 120
"""

_ERRORS: Final = ("train", "test", "train-dev", "human")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "gap",
        usage="diagnose gap [OPTIONS] [RUN_DIR | FACTORY]",
        help="why test or train error are too high, and what to change",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RAW,
    )
    parser.add_argument(
        "source", metavar="RUN_DIR | FACTORY", nargs="?", help="a stored run, or MODULE:NAME, FILE.py:NAME"
    )
    numbers = parser.add_argument_group("numbers")
    for name in _ERRORS:
        numbers.add_argument(f"--{name}-error", metavar="SHARE", type=_share, help="of wrong answers, from 0 to 1")
    numbers.add_argument("--target", metavar="SHARE", type=float, help="the error that is wanted")
    for name in _ERRORS:
        numbers.add_argument(f"--n-{name}", metavar="N", type=int, help=f"examples behind --{name}-error")
    numbers.add_argument("--n-classes", metavar="K", type=int, help="how many classes there are")
    numbers.add_argument("--suspects", metavar="SHARE", type=_share, help="of training labels that are likely wrong")
    numbers.add_argument(
        "--set",
        metavar="NAME=VALUE",
        type=_setting,
        action="append",
        default=[],
        help="a hyperparameter by your own name: --set lr=0.001 --set hidden=64; once for each",
    )
    parser.add_argument("--probe", action="store_true", help="make short experiments (a FACTORY with train_fn)")
    parser.add_argument("--probe-seconds", metavar="S", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=STDOUT,
        help="write the diagnosis as JSON; to stdout, instead of the text, if no FILE is named",
    )
    parser.set_defaults(execute=execute, parser=parser)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share, from 0 to 1 (14 % is 0.14)")
    return value


def execute(options: argparse.Namespace) -> int:
    """Prints the diagnosis, or the JSON, on stdout; returns 1 if something is to be changed."""
    from diagnose.cli._output import print_text, write_text

    _untangle(options)
    found = _diagnosed(options)
    if options.json == STDOUT:
        print_text(_as_json(found))
    else:
        if options.json is not None:
            write_text("--json", options.json, _as_json(found))
        print_text(str(found))
    return 1 if found.findings else 0


def _untangle(options: argparse.Namespace) -> None:
    """In `--json runs/a`, argparse takes the directory for the FILE."""
    if options.source is None and options.json is not None and options.json.is_dir():
        options.source, options.json = str(options.json), STDOUT


def _diagnosed(options: argparse.Namespace) -> GapDiagnosis:
    from diagnose.gap import diagnose_gap

    given: dict[str, Any] = {
        "train_error": options.train_error,
        "test_error": options.test_error,
        "train_dev_error": options.train_dev_error,
        "human_error": options.human_error,
        "target_error": options.target,
        "n_train": options.n_train,
        "n_test": options.n_test,
        "n_train_dev": options.n_train_dev,
        "n_human": options.n_human,
        "n_classes": options.n_classes,
        "suspects": options.suspects,
        "hyperparameters": dict(options.set) or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    source = _source(options.source)
    if source is None and not given:
        raise ConfigError(
            "gap: give a RUN_DIR, a FACTORY, or --train-error and --test-error; see `diagnose gap --help`"
        )
    arguments = source if isinstance(source, Mapping) else {} if source is None else {"source": source}
    if twice := sorted(set(arguments) & set(given)):
        raise ConfigError(f"gap: {', '.join(twice)} comes both from {options.source} and from the command line")
    try:
        return diagnose_gap(
            **arguments, **given, probe=options.probe, probe_seconds=options.probe_seconds, seed=options.seed
        )
    except TypeError as error:
        if isinstance(source, Mapping) and "unexpected keyword" in str(error):
            raise FactoryError(
                f"{options.source} returned arguments that diagnose_gap does not take: {error}"
            ) from error
        raise


def _source(source: str | None) -> Any:
    """A run directory, the arguments that a FACTORY makes, or None."""
    if source is None or Path(source).exists() or ":" not in source:
        return source
    from diagnose.program.factory import load

    function = load(source)
    try:
        made = function()
    except Exception as error:
        raise FactoryError(f"{source} raised {type(error).__name__}: {error}") from error
    return _arguments(made, source)


def _arguments(made: Any, factory: str) -> dict[str, Any]:
    if isinstance(made, Mapping):
        return dict(made)
    if isinstance(made, tuple) and len(made) == 4 and callable(made[2]) and not hasattr(made[2], "__len__"):
        return {"model": made[0], "test_data": (made[1], made[3]), "loss_fn": made[2]}
    if isinstance(made, tuple) and len(made) in (3, 4):
        names = ("model", "train_data", "test_data", "loss_fn")
        return dict(zip(names, made, strict=False))
    what = f"a tuple of {len(made)}" if isinstance(made, tuple) else f"an object of type {type(made).__name__}"
    raise FactoryError(
        f"{factory} returned {what}. It has to return (model, train_data, test_data), (model, train_data, test_data, "
        "loss_fn), (model, inputs, loss_fn, targets), or a dict of arguments of diagnose_gap."
    )


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE, as lr=0.001")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def _as_json(found: GapDiagnosis) -> str:
    from diagnose.report import tool_name

    return json.dumps({"tool": tool_name(), **found.to_json()}, indent=2, allow_nan=False)
