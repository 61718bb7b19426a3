"""`diagnose run`: a program, unchanged, under a watch that finds its models and optimizers by itself."""

from __future__ import annotations

import os
import sys

from diagnose.acceptance import Acceptance, write_baseline
from diagnose.config import Config
from diagnose.errors import DiagnoseError
from diagnose.program import Program, ProgramError, own_imports, run, traceback_hooks
from diagnose.storage import RunDirectory, check_writable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from diagnose.rules import Diagnosis
    from diagnose.watching import Watch

EXIT_FINDINGS = 3


def launch(program: Program, config: Config) -> int:
    """Runs `program` as Python would, watched; returns the exit code of the process.

    That is the program's own, or 3 where that is 0 and a finding is at least as severe as `config.fail_on`.

    Raises:
        ProgramError: there is no such program.
        RunDirectoryError: the run directory or a file that was asked for cannot be written. Nothing has run.
        ConfigError: the baseline cannot be read. Nothing has run.
    """
    if os.environ.get("DIAGNOSE") == "0":
        return run(program, attach=_nothing, conclude=_no_verdict)
    launched = _Launch(program, config)
    try:
        return run(program, attach=launched.attach, conclude=launched.conclude)
    except ProgramError:
        launched.directory.remove_if_empty()
        raise


class _Launch:
    """The two moments of a run that are ours: torch has been imported; the program has ended."""

    def __init__(self, program: Program, config: Config) -> None:
        self.config = config
        for file in (config.json, config.sarif, config.write_baseline):
            if file is not None:
                check_writable(file)
        self.acceptance = Acceptance.load(config.baseline, config.suppress)
        name = program.target.rpartition(".")[2] if program.is_module else program.target
        stem = os.path.splitext(os.path.basename(os.path.normpath(name)))[0] or "run"
        self.directory = RunDirectory.create(config.run_dir, stem=stem)
        self.watch: Watch | None = None
        self._children_before = _children_started()

    def attach(self) -> None:
        """Called when the program has imported torch: from here on it is watched."""
        from diagnose.collect.traceback import without_our_frames
        from diagnose.watching import Watch

        traceback_hooks.append(without_our_frames)
        self.watch = Watch(
            {},
            [],
            self.config,
            directory=self.directory,
            summary=True,
            late_imports=own_imports,
            acceptance=self.acceptance,
        ).start()

    def conclude(self, ending: str) -> int | None:
        """Called when the program has ended, however: writes and prints the report."""
        if self.watch is None:
            _say("the program never imported torch: there was nothing to watch.")
            self.directory.remove_if_empty()
            return None
        self.watch.stop(ending=ending)
        diagnosis = self.watch.diagnosis()
        if self.watch.history.run.steps == 0 and _children_started() > self._children_before:
            _say(
                "this process took no optimizer step, but it started other processes: training in them "
                "is not watched. Start the training function itself with `diagnose run`."
            )
        self._write_files(self.watch, diagnosis)
        return EXIT_FINDINGS if self._fails(diagnosis) else None

    def _fails(self, diagnosis: Diagnosis) -> bool:
        from diagnose.findings import Severity

        if self.config.fail_on == "never":
            return False
        limit = Severity(self.config.fail_on)
        return any(finding.severity.at_least(limit) for finding in diagnosis.findings)

    def _write_files(self, watch: Watch, diagnosis: Diagnosis) -> None:
        """What the options ask for; what cannot be written now is told, and the exit code stays."""
        from diagnose.report import tool_name
        from diagnose.rules import all_rules, pages_of
        from diagnose.sinks.json import write_json
        from diagnose.sinks.sarif import write_sarif

        report = watch.report(diagnosis)
        try:
            if self.config.json is not None:
                write_json(report, self.config.json)
            if self.config.sarif is not None:
                write_sarif(report, self.config.sarif, pages_of(all_rules()), folder=self.acceptance.started_in)
            if self.config.write_baseline is not None:
                everything = watch.diagnosis(self.acceptance.without_baseline())
                write_baseline(everything.findings, self.config.write_baseline, tool=tool_name())
        except OSError as error:
            _say(f"the report could not be written: {error}")
        except DiagnoseError as error:
            _say(str(error))


def _children_started() -> int:
    """How many processes `multiprocessing` has started here, DataLoader workers among them."""
    process = sys.modules.get("multiprocessing.process")
    counter = getattr(process, "_process_counter", None)
    return int(repr(counter).removeprefix("count(").removesuffix(")")) if counter is not None else 1


def _say(message: str) -> None:
    print(f"diagnose: {message}", file=sys.stderr, flush=True)


def _nothing() -> None:
    pass


def _no_verdict(ending: str) -> None:
    return None
