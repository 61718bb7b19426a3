"""`diagnose.watch`: the context manager around a training loop."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.acceptance import Acceptance
from diagnose.collect.session import Session
from diagnose.config import Config
from diagnose.errors import ConfigError, MistakesError
from diagnose.findings import Finding
from diagnose.history import History
from diagnose.report import Report, build_report
from diagnose.rules import Diagnosis, all_rules, diagnose_history
from diagnose.schedule import BudgetSteps, EveryStep, Schedule, SeededSteps
from diagnose.stats.histogram import Histogram, histogram
from diagnose.storage import RunDirectory

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from diagnose.mistakes import Mistakes, TrackedExamples
    from diagnose.sinks.live import LiveLine
    from diagnose.sinks.tensorboard import TensorBoardSink

SNAPSHOT_S: Final = 3.0
"""Least time between two snapshots of the run directory."""

SNAPSHOT_SHARE: Final = 0.003
SNAPSHOT_AT_MOST_S: Final = 15.0
"""Share of the time that snapshots may take: a large model's are further apart, up to so many seconds."""

EVENTS_AFTER_S: Final = 60.0
"""Importing tensorboard takes half a second: a run that has lasted a minute does not feel it, a shorter one
writes its events at the end."""

LIVE_S: Final = 0.5
"""Time between two looks at the status line."""

Models = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module] | None
Optimizers = Optimizer | Sequence[Optimizer] | None


def watch(
    model: Models = None,
    optimizer: Optimizers = None,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    budget: float | None = None,
    schedule: str | Schedule | None = None,
    tensorboard: bool | SummaryWriter | None = None,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    summary: bool = True,
    live: bool | None = None,
    probe_seconds: float | None = None,
    track_examples: bool | None = None,
    config: Config | None = None,
) -> Watch:
    """A context manager that watches the training inside of it.

        with diagnose.watch(model, optimizer, run_dir="runs/a") as watch:
            train()
        print(watch.findings)

    It changes nothing about the training and never raises into it. With `DIAGNOSE=0` in the environment it does
    nothing at all.

    Args:
        model: the model to watch, several, or several by name; None to find those that run.
        optimizer: the optimizer or optimizers; None to find those that step.
        run_dir: where the run is stored, for `diagnose report` and TensorBoard; None stores nothing.
        budget: share of the run's own time that watching may take (default 0.02).
        schedule: "budget" (default), "every" step, "seeded" (no clock: the same steps in every run and on every
            rank), or an object with the methods of `diagnose.schedule.Schedule`.
        tensorboard: False for no event files; a SummaryWriter to write to instead of `run_dir`.
        select, ignore: codes of rules to report, or to leave out.
        summary: print what was found to stderr at the end.
        live: show a status line on stderr while training, if that is a terminal.
        probe_seconds: how long the model may be run again, unnoticed, on copies of a batch (default 2.0); 0 for never.
        track_examples: keep what the network says about each training example while it learns, at no extra pass: for
            `Watch.mistakes()` and `diagnose mistakes RUN_DIR` (default: no).
        config: all options at once; what is given beside it wins. Default: `[tool.diagnose]` is not read.

    Raises:
        ConfigError: an option has an impossible value.
        RunDirectoryError: `run_dir` cannot be written.
    """
    options = (config or Config()).override(
        run_dir=Path(run_dir) if run_dir is not None else None,
        budget=budget,
        schedule=schedule if isinstance(schedule, str) else None,
        tensorboard=tensorboard if isinstance(tensorboard, bool) else None,
        select=tuple(select) if select is not None else None,
        ignore=tuple(ignore) if ignore is not None else None,
        live=live,
        probe_seconds=probe_seconds,
        track_examples=track_examples,
    )
    return Watch(
        _named(model),
        _listed(optimizer),
        options,
        schedule=schedule if schedule is not None and not isinstance(schedule, str) else None,
        writer=tensorboard if not isinstance(tensorboard, bool) else None,
        summary=summary,
    )


class Watch:
    """What `diagnose.watch` returns. Watches between `__enter__` and `__exit__`, or `start` and `stop`.

    The arguments are those of `watch`, and for `diagnose run`: a directory that exists, and a context for
    imports in the middle of a program whose own modules may have the names of others.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        config: Config,
        *,
        schedule: Schedule | None = None,
        writer: SummaryWriter | None = None,
        summary: bool = False,
        directory: RunDirectory | None = None,
        late_imports: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
        acceptance: Acceptance | None = None,
    ) -> None:
        self.config = config
        self._late_imports = late_imports
        self.acceptance = acceptance or Acceptance.load(config.baseline, config.suppress)
        self._models, self._optimizers = models, optimizers
        self._schedule = schedule or _schedule(config)
        self._writer = writer
        self._summary = summary
        self._session: Session | None = None
        self._history = History()
        self._events: TensorBoardSink | None = None
        self._histograms: list[tuple[str, int, Histogram]] = []
        self._live: LiveLine | None = None
        self._process = os.getpid()
        self._begun_s = self._next_snapshot_s = 0.0
        self._storage_failed = False
        self.enabled = os.environ.get("DIAGNOSE", "") != "0"
        self.directory = directory
        if self.enabled and self.directory is None and config.run_dir is not None:
            self.directory = RunDirectory.create(config.run_dir)

    # -- lifetime ---------------------------------------------------------------------------------------

    def __enter__(self) -> Watch:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(ending="exception" if kind is not None else "finished")

    def start(self) -> Watch:
        """Begins to watch; returns itself. Does nothing when already watching, or under DIAGNOSE=0."""
        if self.enabled and self._session is None:
            with _unraised("could not start watching"):
                self._open_sinks()
                self._session = Session(
                    models=self._models,
                    optimizers=self._optimizers,
                    schedule=self._schedule,
                    probe_seconds=self.config.probe_seconds,
                    after_step=self._after_step,
                    histogram=self._draw if self._events is not None else None,
                    track_examples=self.config.track_examples,
                )
                self._history = self._session.history
                self._history.run.started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
                self._history.run.versions = {
                    "python": sys.version.split()[0],
                    "torch": str(torch.__version__),
                }
                self._history.run.command = " ".join(sys.argv)
                self._begun_s = time.perf_counter()
                self._next_snapshot_s = self._begun_s + SNAPSHOT_S
        return self

    def stop(self, *, ending: str = "finished") -> None:
        """Stops watching, writes what is to be written, prints the summary. May be called twice."""
        session = self._session
        if session is None or session.closed or os.getpid() != self._process:
            return
        with _unraised("could not end the watch"):
            session.close()
            self._history.run.ending = ending
            self._note_examples()
            if self._live is not None:
                self._live.clear()
            diagnosis = self.diagnosis()
            self._store(diagnosis)
            if self._summary:
                self.print_summary(diagnosis)
            self._end_events(diagnosis)

    # -- results ------------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """What has been recorded so far."""
        if self._session is not None and not self._session.closed:
            self._session.take_stock()
        return self._history

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, as far as can be said by now: root causes first, then by severity."""
        return self.diagnosis().findings

    def diagnosis(self, acceptance: Acceptance | None = None) -> Diagnosis:
        """The findings, and the rules that could not run, with the reason.

        Args:
            acceptance: which findings are known; None stands for what `config` says.
        """
        rules = all_rules()
        return diagnose_history(
            self.history,
            rules,
            thresholds=self.config.rules,
            hidden=self.config.hidden(rules),
            selected=self.config.select,
            accept=acceptance or self.acceptance,
        )

    def report(self, diagnosis: Diagnosis | None = None) -> Report:
        """Everything that sinks show."""
        running = self._session is not None and not self._session.closed
        return build_report(self._history, diagnosis or self.diagnosis(), directory=self._path(), running=running)

    @property
    def examples(self) -> TrackedExamples | None:
        """What is known by now about each training example; None without `track_examples`, or if nothing is tracked."""
        tracker = self._session.examples if self._session is not None else None
        rows = tracker.result() if tracker is not None else None
        if tracker is None or rows is None:
            return None
        from diagnose.mistakes import TrackedExamples

        return TrackedExamples.of(rows, tracker.reason)

    def mistakes(self, dataset: Any = None, *, k: int = 64) -> Mistakes:
        """The worst mistakes and the most suspect labels of the training, as seen while it learned.

        Args:
            dataset: the data set that was trained on, to show its examples.
            k: how long the rankings are.

        Raises:
            MistakesError: it was not tracked, or nothing could be; the data set is another one.
        """
        examples = self.examples
        if examples is None:
            tracker = self._session.examples if self._session is not None else None
            why = "pass watch(track_examples=True)" if tracker is None else tracker.reason or "no loss was seen"
            raise MistakesError(f"No training example was tracked: {why}.")
        return examples.mistakes(dataset, k=k)

    def print_summary(self, diagnosis: Diagnosis | None = None) -> None:
        """Prints the summary of `report()` to stderr."""
        from diagnose.sinks.terminal import print_report

        print_report(self.report(diagnosis), sys.stderr, verbose=self.config.verbose)
        sys.stderr.flush()

    def _repr_html_(self) -> str:
        from diagnose.sinks.html import findings_html

        return findings_html(self.report())

    def __repr__(self) -> str:
        state = "watching" if self._session is not None and not self._session.closed else "not watching"
        return f"<Watch: {state}, {self._history.run.steps} steps, {len(self.findings)} findings>"

    # -- what the loop may say ------------------------------------------------------------------------------

    def step(self, loss: float | Tensor | None = None) -> None:
        """Says that a training step has ended. Only needed where no torch optimizer makes the steps.

        Args:
            loss: the loss of this step; recorded as the metric "loss", beside what `backward` showed.
        """
        if loss is not None:
            self.log(loss=loss)

    def log(self, **metrics: float | Tensor) -> None:
        """Records metrics at the current step, by name: `watch.log(val_error=0.031)`.

        Names that begin with "val" or "test" or "eval" and hold "loss" also count as evaluation losses.

        Raises:
            TypeError: a value is not a number or a tensor of one element. Nothing is recorded then.
        """
        values: dict[str, float] = {}
        for name, value in metrics.items():
            if not isinstance(value, int | float | Tensor) or (isinstance(value, Tensor) and value.numel() != 1):
                raise TypeError(f"watch.log({name}=...) needs a number or a tensor of one element, got {value!r}")
            values[name] = float(value.detach() if isinstance(value, Tensor) else value)
        step = max((facts.steps for facts in self._history.optimizers.values()), default=0)
        if self._session is not None and not self._session.closed:
            self._history.record("metric", step, values)
            for name, value in values.items():
                if (sign := _lower_is_better(name)) and value == value:
                    self._session.log_evaluation(f"log:{name}", sign * value)

    # -- sinks --------------------------------------------------------------------------------------------

    def _open_sinks(self) -> None:
        if self.config.live and sys.stderr is not None and sys.stderr.isatty():
            from diagnose.sinks.live import LiveLine

            self._live = LiveLine(sys.stderr)
        target: Any = self._writer or (self._path() if self.config.tensorboard else None)
        if target is not None:
            from diagnose.sinks.tensorboard import TensorBoardSink

            self._events = TensorBoardSink(target)

    def _after_step(self, total: int) -> float:
        """Called by the session; says when it wants to be called again."""
        now_s = time.perf_counter()
        if self._live is not None:
            self._live.update(self._history, now_s)
        if now_s >= self._next_snapshot_s:
            self._store(None)
            wait_s = (time.perf_counter() - now_s) / SNAPSHOT_SHARE
            self._next_snapshot_s = now_s + min(max(wait_s, SNAPSHOT_S), SNAPSHOT_AT_MOST_S)
            if "torch.utils.tensorboard" in sys.modules or now_s >= self._begun_s + EVENTS_AFTER_S:
                with self._late_imports():
                    self._write_events()
        return min(self._next_snapshot_s, now_s + LIVE_S) if self._live is not None else self._next_snapshot_s

    def _store(self, diagnosis: Diagnosis | None) -> None:
        """Writes the history; a directory that cannot be written any more is complained of once."""
        if self.directory is None or self._storage_failed:
            return
        try:
            self.directory.save(self._history, diagnosis)
            if (examples := self.examples) is not None:
                examples.save(self.directory, names=diagnosis is not None)
        except OSError as error:
            self._storage_failed = True
            _complain(f"{self.directory.path} cannot be written any more: {error}; the run goes on without")

    def _note_examples(self) -> None:
        """What tracked examples say becomes a part of the history, and so of every report."""
        tracker = self._session.examples if self._session is not None else None
        if tracker is None:
            return
        with _unraised("could not judge the tracked examples"):
            examples = self.examples
            detail = {"not_tracked": tracker.reason or "no loss was seen"} if examples is None else examples.summary()
            self._history.note("examples-tracked", self._history.run.steps, "run", **detail)

    def _draw(self, tag: str, step: int, values: Tensor) -> None:
        # Written with the next snapshot: the first one imports tensorboard, which takes as long as many steps.
        self._histograms.append((tag, step, histogram(values.reshape(-1).numpy())))

    def _write_events(self) -> None:
        if self._events is not None:
            for tag, step, values in self._histograms:
                self._events.add_histogram(tag, step, values)
            self._histograms.clear()
            self._events.add_scalars(self._history)
            self._events.flush()

    def _end_events(self, diagnosis: Diagnosis) -> None:
        if self._events is not None:
            self._write_events()
            self._events.add_findings(self.report(diagnosis))
            self._events.close()

    def _path(self) -> Path | None:
        return self.directory.path if self.directory is not None else None


def _lower_is_better(name: str) -> int:
    """Of a metric of an evaluation, by its name: 1 if less is better, -1 if more is, 0 if it is none or unknown."""
    words = name.lower()
    if not words.startswith(("val", "test", "eval", "dev")):
        return 0
    if any(word in words for word in ("loss", "err", "nll", "perplexity")):
        return 1
    return -1 if any(word in words for word in ("acc", "auc", "f1", "precision", "recall")) else 0


def _schedule(config: Config) -> Schedule:
    if config.schedule == "every":
        return EveryStep()
    if config.schedule == "seeded":
        return SeededSteps()
    return BudgetSteps(config.budget)


def _named(models: Models) -> dict[str, nn.Module]:
    if models is None:
        return {}
    if isinstance(models, nn.Module):
        return {type(models).__name__: models}
    if isinstance(models, Mapping):
        named = dict(models)
    else:
        names = [type(model).__name__ for model in models]
        named = {
            name if names.count(name) == 1 else f"{name}#{index}": model
            for index, (name, model) in enumerate(zip(names, models, strict=True))
        }
    for name, model in named.items():
        if not isinstance(model, nn.Module):
            raise ConfigError(f"watch(model=...): {name!r} is {type(model).__name__}, not a torch.nn.Module")
    return named


def _listed(optimizers: Optimizers) -> list[Optimizer]:
    if optimizers is None:
        return []
    listed = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    for optimizer in listed:
        if not isinstance(optimizer, Optimizer):
            raise ConfigError(f"watch(optimizer=...): {optimizer!r} is not a torch.optim.Optimizer")
    return listed


@contextlib.contextmanager
def _unraised(what: str) -> Iterator[None]:
    """A failure of ours is told in a line; it never becomes the user's."""
    try:
        yield
    except Exception as error:
        _complain(f"{what}: {type(error).__name__}: {error}")


def _complain(message: str) -> None:
    with contextlib.suppress(Exception):
        print(f"diagnose: {message}", file=sys.stderr)
