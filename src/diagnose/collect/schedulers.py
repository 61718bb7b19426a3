"""Learning rate schedulers: how often they are stepped, against the steps of their optimizer."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Shared, Step
from diagnose.collect.callsite import CallSite, call_site
from diagnose.history import SchedulerFacts

_SCHEDULERS_MAX: Final = 64
_SETTINGS: Final = ("T_max", "T_0", "eta_min", "total_steps", "total_iters", "step_size", "gamma", "patience", "factor")


@dataclass
class _Known:
    """A scheduler, by weak reference.

    Attributes:
        site: where it was made.
        name: that of its facts, once its optimizer has stepped.
        origin, calls_before: steps of its optimizer, and calls, that are not of this run or were not seen together.
    """

    scheduler: weakref.ref[Any]
    site: CallSite | None
    name: str = ""
    origin: int = 0
    calls_before: int = 0


class SchedulerCollector(Collector):
    """Keeps SchedulerFacts. On sampled steps: a scheduler counts its own calls, so nothing is done between them.

    Memory: O(schedulers), 64 at most.
    """

    name: ClassVar[str] = "schedulers"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._known: list[_Known] = []
        self._skipped: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def scheduler_made(self, scheduler: Any) -> None:
        self._known = [known for known in self._known if known.scheduler() is not None]
        if len(self._known) < _SCHEDULERS_MAX:
            self._known.append(_Known(weakref.ref(scheduler), call_site()))

    def step_skipped(self, optimizer: Optimizer, scale: float) -> None:
        self._skipped.add(optimizer)

    def step_begins(self, step: Step) -> None:
        for known in self._known:
            scheduler = known.scheduler()
            if scheduler is None or known.name or getattr(scheduler, "optimizer", None) is not step.optimizer:
                continue
            known.name = self._new_name(type(scheduler).__name__)
            early = max(int(getattr(scheduler, "_step_count", 1)) - 1, 0) if self._is_first(step) else 0
            known.origin, known.calls_before = step.number - 1, _calls(scheduler) - early
            self.history.schedulers[known.name] = SchedulerFacts(
                type=type(scheduler).__name__,
                optimizer=step.name,
                early=early,
                base=_base(step.optimizer),
                settings=_settings(scheduler),
                file=known.site.file if known.site else None,
                line=known.site.line if known.site else None,
            )

    def step_ends(self, step: Step) -> None:
        for known in self._known:
            scheduler = known.scheduler()
            if scheduler is not None and known.name and getattr(scheduler, "optimizer", None) is step.optimizer:
                self._count(known, scheduler, step.number)

    def finish(self) -> None:
        for known in self._known:
            scheduler = known.scheduler()
            if scheduler is not None and known.name:
                facts = self.history.schedulers[known.name]
                self._count(known, scheduler, self.shared.step_of.get(facts.optimizer, 0))
        self._known = []

    def _count(self, known: _Known, scheduler: Any, number: int) -> None:
        facts = self.history.schedulers[known.name]
        facts.calls, facts.steps = _calls(scheduler) - known.calls_before, number - known.origin

    def _is_first(self, step: Step) -> bool:
        """Whether it is the optimizer's first step of all: not of one that was restored, or whose first was skipped."""
        first = (step.number == 1 and step.total == 1) or bool(step.optimizer.defaults.get("betas"))
        return first and step.number == 1 and not step.optimizer.state and step.optimizer not in self._skipped

    def _new_name(self, kind: str) -> str:
        name, number = kind, 2
        while name in self.history.schedulers:
            name, number = f"{kind}#{number}", number + 1
        return name


def _calls(scheduler: Any) -> int:
    """Calls of `step`: making a scheduler is one more. Those that have a `step` of their own count epochs only."""
    return max(int(getattr(scheduler, "_step_count", 1)) - 1, int(getattr(scheduler, "last_epoch", 0)), 0)


def _base(optimizer: Optimizer) -> float:
    rates = [
        float(value)
        for group in optimizer.param_groups
        for key in ("max_lr", "initial_lr", "lr")
        if (value := group.get(key)) is not None
    ]
    return max(rates, default=0.0)


def _settings(scheduler: Any) -> dict[str, float]:
    found = {key: getattr(scheduler, key, None) for key in _SETTINGS}
    settings = {key: float(value) for key, value in found.items() if isinstance(value, int | float)}
    milestones = getattr(scheduler, "milestones", None)
    if milestones:
        settings["last_milestone"] = float(max(milestones))
    return settings
