"""What is found and what is not: labelled training scripts, faulty and healthy, each plain and under `diagnose run`.

    python benchmarks/faults/run.py                                   # all, about 20 minutes on two cores
    python benchmarks/faults/run.py benchmarks/faults/own             # one folder
    python benchmarks/faults/run.py benchmarks/faults/twelve/s13.py   # one script
    python benchmarks/faults/run.py --json all.json --markdown all.md

Every script says in its first lines what is wrong with it (labels.py); scoring.py says how that is held against the
report. Shown are, per script, verdict and findings, then the tables. The exit code is 0 whatever was found, and 2
when a script cannot be read.

The folders: `own` by the authors of the rules, so no blind figure; `twelve` by somebody who knew twelve codes and no
rule; `fresh...` by people who knew neither, if there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SUITE = Path(__file__).resolve().parent
sys.path.insert(0, str(SUITE.parents[1]))  # for `python benchmarks/faults/run.py`: the folder that holds benchmarks/

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402

from benchmarks.faults import tables  # noqa: E402
from benchmarks.faults.labels import Label, LabelError, read_label  # noqa: E402
from benchmarks.faults.scoring import Cost, Outcome, Seen, findings_of, summarize, tally_by_code  # noqa: E402

STDERR_LINES = 12


class ScriptError(Exception):
    """A script did not run to its end.

    Attributes:
        how: "crashed" or "timed out".
    """

    def __init__(self, how: Literal["crashed", "timed out"], detail: str) -> None:
        super().__init__(detail)
        self.how = how


@dataclass(frozen=True)
class Options:
    """What the command line says about running."""

    jobs: int
    timeout_s: float
    repeat: bool
    time: bool = True


def main() -> None:
    """The command line."""
    arguments = parse_arguments()
    console = Console(soft_wrap=True)
    try:
        labels = {script: read_label(script, codes=known_codes()) for script in scripts_in(arguments.paths)}
    except (LabelError, OSError) as error:
        sys.exit(f"error: {error}")
    options = Options(arguments.jobs, arguments.timeout, arguments.repeat, time=not arguments.no_times)
    outcomes = run_all(labels, options, console)
    console.print()
    console.print(tables.code_table(tally_by_code(outcomes)))
    for line in tables.summary_lines(summarize(outcomes)):
        console.print(line, markup=False)
    if arguments.json:
        arguments.json.write_text(json.dumps(tables.as_json(outcomes), indent=1) + "\n", encoding="utf-8")
    if arguments.markdown:
        arguments.markdown.write_text(tables.markdown(outcomes), encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("paths", nargs="*", type=Path, default=[SUITE], metavar="FOLDER_OR_SCRIPT", help="default: every folder here")
    add("--jobs", type=int, default=2, metavar="N", help="scripts at a time, a thread of torch each (default: 2)")
    add("--timeout", type=float, default=300.0, metavar="S", help="seconds for one run of one script (default: 300)")
    add("--no-times", action="store_true", help="do not run the scripts plain, too: half the time, no overhead")
    add("--repeat", action="store_true", help="watch every script twice, and say where the second time differs")
    add("--json", type=Path, metavar="FILE", help="write labels, findings, costs and figures")
    add("--markdown", type=Path, metavar="FILE", help="write the figures and the table by code, as in results.md")
    return parser.parse_args()


def scripts_in(paths: Sequence[Path]) -> list[Path]:
    """The scripts that the paths name, each once: files, and the *.py of folders and of their subfolders.

    The programs of the suite itself, which lie beside its folders, are none.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no script.
    """
    scripts: dict[Path, None] = {}
    for path in paths:
        found = sorted(path.resolve().rglob("*.py")) if path.is_dir() else [path.resolve()]
        found = [script for script in found if script.parent != SUITE]
        if not found or not all(script.is_file() for script in found):
            raise FileNotFoundError(f"no script at {path}")
        scripts.update(dict.fromkeys(found))
    return list(scripts)


def known_codes() -> frozenset[str]:
    """The codes of diagnose's own rules."""
    from diagnose.rules import all_rules  # not before `--help` is answered

    return frozenset(all_rules())


def run_all(labels: dict[Path, Label], options: Options, console: Console) -> list[Outcome]:
    """Runs every script and prints a line as each ends; the outcomes in the order of `labels`."""
    outcomes: dict[Path, Outcome] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(options.jobs) as pool:
        task = progress.add_task("scripts", total=len(labels))
        pending: dict[Future[Outcome], Path] = {
            pool.submit(run_script, script, label, options): script for script, label in labels.items()
        }
        try:
            for future in as_completed(pending):
                outcomes[pending[future]] = future.result()
                progress.console.print(tables.script_line(future.result()), highlight=False)
                progress.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [outcomes[script] for script in labels]


def run_script(script: Path, label: Label, options: Options) -> Outcome:
    """What came of one script, plain and watched; never raises for what the script does."""
    name = str(script.relative_to(SUITE)) if script.is_relative_to(SUITE) else script.name
    plain: Cost | None = None
    try:
        plain = run_child([str(script)], timeout_s=options.timeout_s) if options.time else None
        findings, watched = watch(script, timeout_s=options.timeout_s)
        repeated = watch(script, timeout_s=options.timeout_s)[0] if options.repeat else None
    except ScriptError as failure:
        return Outcome(name, label, plain=plain, failure=failure.how, detail=str(failure))
    return Outcome(name, label, findings, plain, watched, repeated=repeated)


def watch(script: Path, *, timeout_s: float) -> tuple[tuple[Seen, ...], Cost]:
    """The findings of `diagnose run` on a script, and what that took.

    Raises:
        ScriptError: the script failed, or there is no report.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = ["-m", "diagnose", "run", "--no-tensorboard", "--json", str(report), str(script)]
        cost = run_child(command, timeout_s=timeout_s)
        if not report.exists():
            raise ScriptError("crashed", "diagnose wrote no report")
        return findings_of(json.loads(report.read_text(encoding="utf-8"))), cost


def run_child(arguments: Sequence[str], *, timeout_s: float) -> Cost:
    """Runs Python with `arguments` in an empty folder and says what it took, its own children included.

    Raises:
        ScriptError: it ended with another exit code than 0, or not in time; with the end of its stderr.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as errors:
        begun = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
        with killed_after(child, timeout_s) as expired:
            # Not child.wait(): wait4 also says what the child, and the children that it waited for, have used.
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        cost = Cost(time.monotonic() - begun, usage.ru_utime + usage.ru_stime)
        if expired.is_set():
            raise ScriptError("timed out", f"no end within {timeout_s:g} s")
        if child.returncode:
            errors.seek(0)
            tail = errors.read().decode(errors="replace").splitlines()[-STDERR_LINES:]
            raise ScriptError("crashed", "\n".join([f"exit code {child.returncode}", *tail]))
    return cost


@contextlib.contextmanager
def killed_after(child: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kills the child unless the block ends in time; the event tells whether it came to that."""
    expired = threading.Event()

    def kill() -> None:
        expired.set()
        child.kill()

    timer = threading.Timer(seconds, kill)
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


if __name__ == "__main__":
    main()
