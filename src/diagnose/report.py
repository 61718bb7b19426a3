"""The report of a run: what every sink shows, and its JSON form, which others rely on.

    {"version": 1, "tool": "torch-diagnose 0.1.0", "verdict": "broken", "findings": [...],
     "run": {"steps": 400, "models": ["Net"], "optimizers": [{"name", "type", "steps"}],
             "wall_s": 12.3, "overhead": 0.012, ...},
     "not_run": {"CODE": "why"},
     "accepted": [{..., as a finding, "reason": "in the baseline"}]}

Keys are added, never renamed or removed, as long as `version` stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from diagnose.findings import Finding, Severity

if TYPE_CHECKING:
    from diagnose.history import History
    from diagnose.rules import Diagnosis

VERSION: Final = 1

Verdict = Literal["broken", "at-risk", "healthy", "nothing-seen"]


@dataclass(frozen=True)
class OptimizerSummary:
    """One optimizer: its name in the history, its class, and how many steps it has made."""

    name: str
    type: str
    steps: int


@dataclass(frozen=True)
class RunSummary:
    """What was watched, and at what cost.

    Attributes:
        command: what was run.
        started: when, ISO 8601.
        ending: "finished", "exit", "exception", "interrupt" or "signal"; "running" while watched; "" after a kill.
        models: class names.
        steps: optimizer steps, of all optimizers together.
        sampled: how many of them were looked at closely.
        wall_s, own_s, startup_s: seconds; how many of them were ours; the part of those at the start.
        overhead: share of the time without us that we added, the start-up left out.
        not_seen: by layer, why it could not be seen.
        failed: by collector that raised and was switched off, its error.
        versions: of torch and the like.
        tracked: what tracked examples say about their labels (keys: mistakes/_tracked.py, `summary`); None if none
            were tracked.
        directory: where the run is stored.
    """

    command: str = ""
    started: str = ""
    ending: str = ""
    models: tuple[str, ...] = ()
    optimizers: tuple[OptimizerSummary, ...] = ()
    steps: int = 0
    sampled: int = 0
    wall_s: float = 0.0
    own_s: float = 0.0
    startup_s: float = 0.0
    overhead: float = 0.0
    not_seen: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    tracked: Mapping[str, Any] | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class Report:
    """A diagnosis and the run that it is about.

    Attributes:
        findings: most severe first, as `rules.diagnose_history` orders them.
        not_run: for each rule that could not run, why.
        accepted: findings that were left out because they are known, each with the reason.
    """

    findings: tuple[Finding, ...] = ()
    not_run: Mapping[str, str] = field(default_factory=dict)
    run: RunSummary = field(default_factory=RunSummary)
    accepted: tuple[tuple[Finding, str], ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst finding in a word; infos leave a run healthy."""
        if self.count(Severity.ERROR):
            return "broken"
        if self.count(Severity.WARNING):
            return "at-risk"
        return "healthy" if self.run.steps else "nothing-seen"

    def count(self, severity: Severity) -> int:
        """How many findings are of this severity, those listed under a cause not counted."""
        return sum(finding.severity is severity for finding in self.findings)

    def fails(self, fail_on: Literal["error", "warning", "never"]) -> bool:
        """Whether a finding is at least as severe as `fail_on`."""
        if fail_on == "never":
            return False
        return any(finding.severity.at_least(Severity(fail_on)) for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain data that strict JSON can hold: non-finite numbers become "nan", "inf", "-inf"."""
        run = asdict(self.run)
        run["directory"] = str(self.run.directory) if self.run.directory else None
        plain: dict[str, Any] = _plain(
            {
                "version": VERSION,
                "tool": tool_name(),
                "verdict": self.verdict,
                "findings": [finding.to_json() for finding in self.findings],
                "run": run,
                "not_run": self.not_run,
                "accepted": [{**finding.to_json(), "reason": reason} for finding, reason in self.accepted],
            }
        )
        return plain


def build_report(
    history: History, diagnosis: Diagnosis, *, directory: Path | None = None, running: bool = False
) -> Report:
    """The report of what `diagnosis` made of `history`; neither is kept or changed.

    Args:
        directory: where the run is stored, if it is.
        running: whether it is being watched at this moment.
    """
    facts = history.run
    run = RunSummary(
        command=facts.command,
        started=facts.started,
        ending="running" if running else facts.ending,
        models=tuple(facts.models),
        optimizers=tuple(OptimizerSummary(name, its.type, its.steps) for name, its in history.optimizers.items()),
        steps=facts.steps,
        sampled=facts.sampled,
        wall_s=facts.wall_s,
        own_s=facts.own_s,
        startup_s=facts.startup_s,
        overhead=facts.overhead,
        not_seen={event.scope: str(event.detail.get("reason", "")) for event in history.events("not-seen")},
        failed={
            str(event.detail.get("collector", event.scope)): str(event.detail.get("error", ""))
            for event in history.events("collector-failed")
        },
        versions=dict(facts.versions),
        tracked=next((dict(event.detail) for event in reversed([*history.events("examples-tracked")])), None),
        directory=directory,
    )
    return Report(tuple(diagnosis.findings), dict(diagnosis.not_run), run, tuple(diagnosis.accepted))


def tool_name() -> str:
    """Name and version of this program, as files that it writes name their origin."""
    return f"torch-diagnose {package_version()}"


def package_version() -> str:
    """The version of the installed package; "0+unknown" in a source tree that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # 20 ms

    try:
        return version("torch-diagnose")
    except PackageNotFoundError:
        return "0+unknown"


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # a NumPy number or array: rules may put what they computed into evidence
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
