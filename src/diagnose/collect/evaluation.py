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
_Place: TypeAlias = tuple[_Chain, int, str]

_MOST_PASSES: Final = 8
"""Passes over data sets in one phase, from one line, that are told apart; more are no passes, but batches."""
_MOST_STREAMS: Final = 64
_SUMS_KEPT: Final = 256
_FEWEST_HALVED: Final = 4


@dataclass
class _Pass:
    """One pass over a data set: the sums of its losses and the examples in them, by groups of `per_sum` calls."""

    sums: list[Tensor] = field(default_factory=list)
    examples: list[int] = field(default_factory=list)
    calls: int = 0
    per_sum: int = 1

    def add(self, total: Tensor, examples: int) -> None:
        if self.calls % self.per_sum:
            self.sums[-1] = self.sums[-1] + total
            self.examples[-1] += examples
        else:
            self.sums.append(total)
            self.examples.append(examples)
        self.calls += 1
        if len(self.sums) > _SUMS_KEPT and not self.calls % (2 * self.per_sum):  # bounded, however long it is
            pairs = torch.stack(self.sums[: len(self.sums) // 2 * 2]).reshape(-1, 2).sum(1)
            self.examples = [a + b for a, b in zip(self.examples[::2], self.examples[1::2], strict=True)]
            self.sums = list(pairs.unbind())
            self.per_sum *= 2

    def join(self, other: _Pass) -> None:
        """Takes in another pass, as a whole."""
        self.sums = [torch.stack([*self.sums, *other.sums]).sum()]
        self.examples = [sum(self.examples) + sum(other.examples)]
        self.calls = self.per_sum = 1

    @property
    def middle(self) -> int | None:
        """Number of the sums that make the first half of the calls; None if it cannot be cut there."""
        if self.calls < _FEWEST_HALVED or self.calls % (2 * self.per_sum):
            return None
        return self.calls // (2 * self.per_sum)


class EvaluationCollector(Collector):
    """Records "eval_loss": the mean per example over one pass, at the step after which it was measured.

    What is evaluated at one place is one stream: the same lines call the same loss function, and, where one line
    evaluates several data sets one after the other (each time calling `eval()`), with the same rank among
    them. Each optimizer has streams of its own: a further one trains something new. Of a pass of an even number of
    calls both halves are recorded too, because a function that evaluates training and test data in one loop gives no
    other sign of it: halves of one data set say the same. Memory: O(streams).
    """

    name: ClassVar[str] = "evaluation"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._passes: dict[_Chain, dict[int, _Pass]] = {}
        self._sites: dict[_Chain, CallSite | None] = {}
        self._scopes: dict[tuple[_Place, str], str] = {}
        self._turn = 0
        self._heard = False
        self._stepped: dict[str, int] = {}
        self._clock = ""
        # Before the first step no optimizer is known.
        self._early: list[tuple[_Place, float]] = []

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
        parts: list[tuple[_Place, Tensor, int]] = []
        with Unseen():
            for chain, passes in self._passes.items():
                for rank, a_pass in enumerate(passes.values()):
                    middle = a_pass.middle
                    # What was evaluated may be two data sets, one after the other, without a sign in between.
                    cuts = {"": slice(None)} if middle is None else {
                        "": slice(None), "first half": slice(middle), "second half": slice(middle, None)
                    }  # fmt: skip
                    for part, cut in cuts.items():
                        total = torch.stack(a_pass.sums[cut]).sum()
                        parts.append(((chain, rank, part), total, sum(a_pass.examples[cut])))
            totals = to_floats([total for _, total, _ in parts])
        self._passes = {}
        means = [(place, total / examples) for (place, _, examples), total in zip(parts, totals, strict=True)]
        steps = self.shared.step_of
        stepped = [name for name, number in steps.items() if number > self._stepped.get(name, 0)]
        if stepped:  # of several the youngest: what was trained before is over, or goes on beside it
            self._clock = stepped[-1]
        self._stepped = dict(steps)
        if not self._clock:
            self._early = [*self._early, *means][: 3 * _MOST_STREAMS]
            return
        self._record_early()
        self._record(means, steps[self._clock])

    def _record_early(self) -> None:
        means, self._early = self._early, []
        self._record(means, 0)

    def _record(self, means: list[tuple[_Place, float]], step: int) -> None:
        row = {self._scope(place): mean for place, mean in means}
        if row:
            self.history.record("eval_loss", step, row, clock=self._clock)

    def _scope(self, place: _Place) -> str:
        key = (place, self._clock)
        scope = self._scopes.get(key)
        if scope is None:
            chain, rank, half = place
            site, taken = self._sites[chain], self.history.evaluations
            if half:
                whole = self._scope((chain, rank, ""))
                scope = f"{whole} ({half})"
            else:
                scope = whole = "eval" if not taken else f"eval@{site.line if site else '?'}"
                while scope in taken:
                    whole = scope = scope + "'"
            self._scopes[key] = scope
            taken[scope] = EvaluationFacts(
                self._clock,
                site.file if site else None,
                site.line if site else None,
                half_of=whole if half else None,
            )
        return scope
