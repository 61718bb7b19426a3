"""`diagnose check FACTORY`: is a model, on a batch and with its loss, fit to be trained?"""

from __future__ import annotations

import argparse
import json
import shlex
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diagnose.cli._parser import RAW, codes
from diagnose.cli.check_gradients import shape
from diagnose.errors import CheckError, ConfigError, FactoryError

if TYPE_CHECKING:
    from diagnose.checks import CheckResult
    from diagnose.findings import Finding

STDOUT: Final = Path("-")
VERSION: Final = 1

_DESCRIPTION: Final = """\
Runs experiments on a copy of a model, with one batch and its loss: does the
loss begin where it should, does each parameter get a gradient, is the gradient
right, can a few examples be learned by heart, which learning rates are worth
trying? Checks that have nothing to look at say why.

FACTORY is MODULE:NAME or FILE.py:NAME, a function without arguments that
returns
  (module, inputs, loss_fn, targets)   loss_fn(output, targets) is one number
  (module, inputs, loss_fn)            loss_fn(output)
  (module, inputs)                     the module returns its loss, or has none
  module                               --input-shape: what inputs to make up
inputs is a tensor, a list or tuple of arguments, or a dict of keyword
arguments; 8 examples or more are best.

Exit code: 0 nothing was found, 1 a check failed, 2 wrong usage, or model or
loss raise an exception.
"""

_EPILOG: Final = """\
examples:
  diagnose check train.py:make_all
  diagnose check package.models:build --input-shape 8,3,32,32
  diagnose check train.py:make_all --select fit-tiny,gradient-flow
  diagnose check train.py:make_all --ignore gradients --json checks.json
  diagnose check train.py:make_all --select lr-range-test --plot rates.png

in train.py:
  def make_all():
      images, labels = next(iter(train_loader))
      return Net(), images, torch.nn.functional.cross_entropy, labels
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        usage="diagnose check [OPTIONS] FACTORY",
        help="try out a model on one batch",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RAW,
    )
    parser.add_argument("factory", metavar="FACTORY", nargs="?", help="MODULE:NAME or FILE.py:NAME")
    parser.add_argument(
        "--input-shape",
        metavar="SHAPE",
        type=shape,
        action="append",
        help="make up a normally distributed input, as 8,3,32,32; once per input, if the FACTORY returns none",
    )
    parser.add_argument("--seed", type=int, default=0, help="of inputs and of all that is random (default: 0)")
    parser.add_argument(
        "--select", metavar="CHECKS", type=codes, action="extend", help="run only these, comma-separated"
    )
    parser.add_argument("--ignore", metavar="CHECKS", type=codes, action="extend", help="leave these out")
    parser.add_argument("--list", action="store_true", help="list the checks, and end")
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "never"),
        default="warning",
        help="exit with code 1 if a finding is at least that severe (default: warning)",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=STDOUT,
        help="write the results as JSON; to stdout, instead of the table, if no FILE is named",
    )
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the curve of lr-range-test, as a PNG, say")
    parser.set_defaults(execute=execute, parser=parser)


def execute(options: argparse.Namespace) -> int:
    """Prints the table, or the JSON, on stdout; returns 1 if `--fail-on` says so."""
    from diagnose.cli._output import print_text, write_text

    if options.list:
        print_text(_listed())
        return 0
    if options.factory is None and options.json is not None and options.json != STDOUT:
        raise ConfigError(f"check: name the FACTORY before --json: diagnose check {options.json} --json")
    if options.factory is None:
        raise ConfigError("check: name a FACTORY, as train.py:make_all; see `diagnose check --help`")
    results, name, seconds = _checked(options)
    found = _severe(results, options.fail_on)
    if options.plot is not None:
        _plot(results, options.plot)
    if options.json is not None:
        text = _as_json(results, options, name, seconds, ok=not found)
        if options.json == STDOUT:
            print_text(text)
            return 1 if found else 0
        write_text("--json", options.json, text)
    _print(results, options, name, seconds)
    return 1 if found else 0


def _checked(options: argparse.Namespace) -> tuple[tuple[CheckResult, ...], str, float]:
    """(results, name of the model, seconds)."""
    import torch

    from diagnose.checks._all import chosen_from, run_all
    from diagnose.cli.check_gradients import made_up
    from diagnose.program.factory import make
    from diagnose.progress import Progress

    try:
        chosen = chosen_from(options.select, options.ignore or ())
    except ValueError as error:
        raise ConfigError(f"check: {error}") from error
    if not chosen:
        raise ConfigError("check: --select and --ignore leave no check to run")
    if options.plot is not None and all(check.name != "lr-range-test" for check in chosen):
        raise ConfigError("check: --plot draws lr-range-test, which --select and --ignore leave out")
    made = make(options.factory)
    if not isinstance(made.target, torch.nn.Module):
        raise FactoryError(
            f"{options.factory} returned a function, and checks need a torch.nn.Module. For the gradients of a "
            "function: diagnose check-gradients"
        )
    inputs = made_up(made, options) if made.inputs is None or options.input_shape else made.inputs
    began = time.monotonic()
    with Progress(None, "checks") as bar:
        try:
            results = run_all(
                made.target,
                inputs,
                made.targets,
                loss_fn=made.loss_fn,
                select=[check.name for check in chosen],
                seed=options.seed,
                told=lambda name, done, total: bar.told(done, total),
            )
        except CheckError as error:
            raise CheckError(f"{error}{_raised_at(error)}") from error
    return results, type(made.target).__name__, time.monotonic() - began


def _raised_at(error: CheckError) -> str:
    """Where the user's code raised: " (net.py:12)"."""
    if error.__cause__ is None:
        return ""
    frames = traceback.extract_tb(error.__cause__.__traceback__)
    ours = [frame for frame in frames if not _is_library(frame.filename)]
    return f" ({_shortest(ours[-1].filename)}:{ours[-1].lineno})" if ours else ""


def _is_library(filename: str) -> bool:
    own = str(Path(__file__).parents[1])
    return filename.startswith((own, "<")) or "site-packages" in filename or "/torch/" in filename


def _shortest(filename: str) -> str:
    from diagnose.sinks.wording import shortest_path

    return shortest_path(filename)


def _severe(results: Sequence[CheckResult], fail_on: str) -> list[Finding]:
    from diagnose.findings import Severity

    if fail_on == "never":
        return []
    return [f for result in results for f in result.findings if f.severity.at_least(Severity(fail_on))]


def _print(results: Sequence[CheckResult], options: argparse.Namespace, name: str, seconds: float) -> None:
    from diagnose.checks import Status
    from diagnose.sinks import wording
    from diagnose.sinks.terminal import NOT_APPLICABLE, Row, print_checks

    marks = {Status.PASSED: "ok", Status.FAILED: "FAILED", Status.NOT_APPLICABLE: NOT_APPLICABLE}
    rows = [Row(marks[result.status], result.name, result.reason or result.summary) for result in results]
    failed = sum(result.status is Status.FAILED for result in results)
    passed = sum(result.status is Status.PASSED for result in results)
    told = (
        f"{wording.counted(failed, 'check')} of {passed + failed} failed"
        if failed
        else f"{wording.counted(passed, 'check')} passed"
    )
    if left := len(results) - passed - failed:
        told += f", {left} {'does' if left == 1 else 'do'} not apply"
    findings = sorted((f for result in results for f in result.findings), key=lambda f: f.severity.rank)
    print_checks(f"{name}: {told} ({wording.duration(seconds)}).", rows, _without_doubles(findings), ok=not failed)
    if failed:
        from diagnose.cli._output import print_text

        print_text(f"\nagain: {_command(options)}")


def _without_doubles(findings: Sequence[Finding]) -> list[Finding]:
    """Each finding once: two checks may name the same parameter with the same words."""
    return list({(f.code, f.where, f.message): f for f in reversed(findings)}.values())[::-1]


def _as_json(
    results: Sequence[CheckResult], options: argparse.Namespace, name: str, seconds: float, *, ok: bool
) -> str:
    from diagnose.report import tool_name

    data = {
        "version": VERSION,
        "tool": tool_name(),
        "ok": ok,
        "subject": name,
        "seed": options.seed,
        "checks": [result.to_json() for result in results],
        "wall_s": seconds,
        "rerun": _command(options),
    }
    return json.dumps(data, indent=2, allow_nan=False)


def _plot(results: Sequence[CheckResult], path: Path) -> None:
    from diagnose.checks import LrRangeResult

    for result in results:
        if isinstance(result, LrRangeResult):
            result.plot(path)
            return
    reason = next(result.reason for result in results if result.name == "lr-range-test")
    raise CheckError(f"--plot: lr-range-test does not apply: {reason}")


def _listed() -> str:
    from diagnose.checks._all import ALL

    width = max(len(check.name) for check in ALL) + 2
    return "\n".join(f"{check.name:<{width}}{check.question}" for check in ALL)


def _command(options: argparse.Namespace) -> str:
    words = ["diagnose", "check", options.factory]
    for size in options.input_shape or ():
        words += ["--input-shape", ",".join(map(str, size))]
    for name in ("select", "ignore"):
        if getattr(options, name):
            words += [f"--{name}", ",".join(getattr(options, name))]
    words += ["--fail-on", options.fail_on] if options.fail_on != "warning" else []
    words += ["--seed", str(options.seed)]
    return shlex.join(words)
