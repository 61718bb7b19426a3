"""How often a model is right in evaluation, as far as the program compares its answers with labels by `==`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.callsite import CallSite, call_site
from diagnose.collect.forward import ModelRun
from diagnose.collect.reading import Unseen, accessible, readable
from diagnose.history import AccuracyFacts
from diagnose.stats.neighbours import right_beyond_chance, right_when_renamed

PLACES_KEPT: Final = 8
EXAMPLES_KEPT: Final = 16_384
_CLASSES_MOST: Final = 1000
_PHASES_KEPT: Final = 64


@dataclass(eq=False)
class _Phase:
    """What one line compared in one phase: answers and labels, and how many examples they are."""

    answers: list[NDArray[np.int64]] = field(default_factory=list)
    labels: list[NDArray[np.int64]] = field(default_factory=list)
    examples: int = 0


class AccuracyCollector(Collector):
    """Fills `history.accuracies`, for each line that compares answers with labels.

    Answers are known by their values, which are what the model's latest output says: its largest column, or whether
    it is above 0 or 1/2. Memory: the first 16,384 examples of a phase for each of 8 lines, until it is over.
    """

    name: ClassVar[str] = "accuracy"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._said: list[Tensor] = []
        self._phases: dict[CallSite | None, _Phase] = {}

    def model_ran(self, run: ModelRun) -> None:
        self._said = []
        output = run.output
        if run.training or not readable(output) or output.dim() not in (1, 2) or len(output) > EXAMPLES_KEPT:
            return
        if output.dim() == 1 or output.shape[1] <= _CLASSES_MOST:
            with Unseen():  # the output itself may be gone when its answers are compared
                self._said = _answers_of(output.detach())

    def compared(self, first: Tensor, second: Tensor) -> None:
        if not self._said or len(first) != len(self._said[0]) or not accessible(first) or not accessible(second):
            return
        site = call_site()
        phase = self._phases.get(site)
        if phase is None:
            if len(self._phases) >= PLACES_KEPT:
                return
            phase = self._phases[site] = _Phase()
        if phase.examples + len(first) > EXAMPLES_KEPT:
            return
        with Unseen():
            values = [_on_host(tensor) for tensor in (first, second)]
            for answers in map(_on_host, self._said):
                # Where both are the same, all are right, whichever the labels are.
                for index in (0, 1):
                    if np.array_equal(values[index], answers):
                        phase.answers.append(answers)
                        phase.labels.append(values[1 - index])
                        phase.examples += len(answers)
                        return

    def evaluation_ends(self) -> None:
        self._said = []
        phases, self._phases = self._phases, {}
        for site, phase in phases.items():
            if not phase.examples:
                continue
            answers, labels = np.concatenate(phase.answers), np.concatenate(phase.labels)
            if min(answers.min(), labels.min()) < 0 or max(answers.max(), labels.max()) >= _CLASSES_MOST:
                continue
            found = right_beyond_chance(answers, labels)
            scope = f"{site.file}:{site.line}" if site is not None else ""
            facts = self.history.accuracies.setdefault(scope, AccuracyFacts())
            facts.phases += 1
            facts.course[_PHASES_KEPT - 1 :] = []
            facts.course.append(found.sigmas)
            if facts.phases == 1 or found.sigmas > facts.sigmas:
                facts.examples, facts.right, facts.by_chance, facts.sigmas = found
                renamed = right_when_renamed(answers, labels)
                facts.renamed = 0.0 if math.isnan(renamed) else renamed

    def finish(self) -> None:
        self.evaluation_ends()


def _on_host(tensor: Tensor) -> NDArray[np.int64]:
    values: NDArray[np.int64] = tensor.detach().reshape(-1).to("cpu", torch.int64).numpy().copy()
    return values


def _answers_of(output: Tensor) -> list[Tensor]:
    if output.dim() == 2 and output.shape[1] > 1:
        return [output.argmax(1)]
    return [output > 0, output > 0.5]
