"""`diagnose report RUN_DIR`: the findings of a run that is over, was killed, or still goes on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diagnose.cli._parser import RAW, add_rule_options, rule_options
from diagnose.errors import ConfigError

if TYPE_CHECKING:
    from diagnose.rules import Diagnosis

STDOUT: Final = Path("-")

_DESCRIPTION: Final = """\
Runs the rules once more over what a run has stored, and shows the findings. The
run may have ended, have been killed (the last snapshot is some seconds old), or
still go on.
"""

_EPILOG: Final = """\
examples:
  diagnose report diagnose-runs/train-20260102-030405
  diagnose report runs/a --json                      the JSON report on stdout
  diagnose report runs/a --json a.json --fail-on error
  diagnose report runs/a --ignore saturated-units --verbose
  diagnose report runs/a --write-baseline known.json   accept what was found
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        usage="diagnose report [OPTIONS] RUN_DIR",
        help="show the findings of a stored run",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RAW,
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, nargs="?", help="where the run is stored")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=STDOUT,
        help="write the report as JSON; to stdout, instead of the summary, if no FILE is named",
    )
    add_rule_options(parser)
    parser.set_defaults(execute=execute, parser=parser)


def execute(options: argparse.Namespace) -> int:
    """Prints the summary, or the JSON, on stdout; returns 3 if `--fail-on` says so."""
    run_dir, json = _paths(options)
    from diagnose.acceptance import Acceptance, write_baseline
    from diagnose.cli._output import write_file
    from diagnose.config import load_config
    from diagnose.report import build_report, tool_name
    from diagnose.rules import all_rules, diagnose_history, pages_of
    from diagnose.storage import load

    config = load_config(Path()).override(**rule_options(options))
    acceptance = Acceptance.load(config.baseline, config.suppress)
    history, _ = load(run_dir)
    rules = all_rules()

    def diagnosis(accept: Acceptance) -> Diagnosis:
        return diagnose_history(
            history,
            rules,
            thresholds=config.rules,
            hidden=config.hidden(rules),
            selected=config.select,
            accept=accept,
        )

    report = build_report(
        history, diagnosis(acceptance), directory=(run_dir if run_dir.is_dir() else run_dir.parent).absolute()
    )
    if config.write_baseline is not None:
        everything = diagnosis(acceptance.without_baseline())
        write_baseline(everything.findings, config.write_baseline, tool=tool_name())
    if config.sarif is not None:
        from diagnose.sinks.sarif import write_sarif

        write_file("--sarif", config.sarif, lambda path: write_sarif(report, path, pages_of(rules)))
    if json == STDOUT:
        from diagnose.sinks.json import json_text

        print(json_text(report), end="")
    else:
        if json is not None:
            from diagnose.sinks.json import write_json

            write_file("--json", json, lambda path: write_json(report, path))
        from diagnose.sinks.terminal import print_report

        print_report(report, sys.stdout, verbose=config.verbose)
    return 3 if report.fails(config.fail_on) else 0


def _paths(options: argparse.Namespace) -> tuple[Path, Path | None]:
    """RUN_DIR and FILE. In `--json runs/a`, argparse takes a directory for the FILE."""
    if options.run_dir is not None:
        return options.run_dir, options.json
    if options.json is not None and options.json.is_dir():
        return options.json, STDOUT
    raise ConfigError("report: name the RUN_DIR of the run to report on, as `diagnose run` has printed it")
