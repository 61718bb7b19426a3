"""Losses of evaluation phases: what loss functions return while gradients are off."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

import torch
from torch import Tensor

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.callsite import CallSite, call_chain, call_site
from diagnose.collect.reading import Unseen, readable, to_floats
from diagnose.history import EvaluationFacts

_Chain: TypeAlias = tuple[tuple[int, int], ...]

_MOST_PASSES: Final = 8
"""Passes over data sets in one phase, from one line, that are told apart; more are no passes, but batches."""
_MOST_STREAMS: Final = 64
_SUMS_KEPT: Final = 64


@dataclass
class _Pass:
    """One pass over a data set: what its losses add up to, over so many examples."""

    sums: list[Tensor] = field(default_factory=list)
    examples: int = 0

    def add(self, total: Tensor, examples: int) -> None:
        self.sums.append(total)
        self.examples += examples
        if len(self.sums) >= _SUMS_KEPT:  # bounded however long the evaluation is
            self.sums = [torch.stack(self.sums).sum()]

    def join(self, other: _Pass) -> None:
        self.sums = [torch.stack([*self.sums, *other.sums]).sum()]
        self.examples += other.examples


class EvaluationCollector(Collector):
    """Records "eval_loss": the mean per example over one pass, at the step after which it was measured.

    What is evaluated at one place is one stream: the same lines call the same loss function, and, where one line
    evaluates several data sets one after the other (each time calling `eval()`), with the same rank among
    them. Each optimizer has streams of its own: a further one trains something new. Memory: O(streams).
    """

    name: ClassVar[str] = "evaluation"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._passes: dict[_Chain, dict[int, _Pass]] = {}
        self._sites: dict[_Chain, CallSite | None] = {}
        self._scopes: dict[tuple[_Chain, int, str], str] = {}
        self._turn = 0
        self._heard = False
        self._stepped: dict[str, int] = {}
        self._clock = ""
        # Before the first step no optimizer is known.
        self._early: list[tuple[_Chain, int, float]] = []

    def evaluation_begins(self) -> None:
        if self._heard:
            self._turn, self._heard = self._turn + 1, False

    def evaluation_loss(self, value: Tensor, *, summed: bool, examples: int) -> None:
        if not readable(value) or examples < 1:
            return
        self._heard = True
        chain = call_chain()
        if chain not in self._sites:
            if len(self._sites) >= _MOST_STREAMS:
                return
            self._sites[chain] = call_site()
        passes = self._passes.setdefault(chain, {})
        with Unseen():
            if self._turn not in passes and len(passes) >= _MOST_PASSES:
                first, *others = passes.values()
                for other in others:
                    first.join(other)
                passes.clear()
                passes[-1] = first
            total = value.detach().to(torch.float64 if value.device.type == "cpu" else torch.float32, copy=True)
            into = passes.get(-1) or passes.setdefault(self._turn, _Pass())
            into.add(total if summed else total * examples, examples)

    def evaluation_ends(self) -> None:
        self._close()

    def finish(self) -> None:
        self._close()
        self._record_early()

    def _close(self) -> None:
        self._turn, self._heard = 0, False
        if not self._passes:
            return
        found = [
            (chain, rank, a_pass)
            for chain, passes in self._passes.items()
            for rank, a_pass in enumerate(passes.values())
        ]
        self._passes = {}
        with Unseen():
            totals = to_floats([torch.stack(a_pass.sums).sum() for _, _, a_pass in found])
        means = [
            (chain, rank, total / a_pass.examples) for (chain, rank, a_pass), total in zip(found, totals, strict=True)
        ]
        steps = self.shared.step_of
        ran = {name: number - self._stepped.get(name, 0) for name, number in steps.items()}
        busiest = max(ran, key=lambda name: ran[name], default="")
        if busiest and ran[busiest]:
            self._clock = busiest
        self._stepped = dict(steps)
        if not self._clock:
            self._early += means[:_MOST_STREAMS]
            return
        self._record_early()
        self._record(means, steps[self._clock])

    def _record_early(self) -> None:
        means, self._early = self._early, []
        self._record(means, 0)

    def _record(self, means: list[tuple[_Chain, int, float]], step: int) -> None:
        row = {self._scope(chain, rank): mean for chain, rank, mean in means}
        if row:
            self.history.record("eval_loss", step, row, clock=self._clock)

    def _scope(self, chain: _Chain, rank: int) -> str:
        key = (chain, rank, self._clock)
        scope = self._scopes.get(key)
        if scope is None:
            site, taken = self._sites[chain], self.history.evaluations
            scope = "eval" if not taken else f"eval@{site.line if site else '?'}"
            while scope in taken:
                scope += "'"
            self._scopes[key] = scope
            taken[scope] = EvaluationFacts(self._clock, site.file if site else None, site.line if site else None)
        return scope
