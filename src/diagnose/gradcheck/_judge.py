"""The verdict on each tensor of one problem: contract first, then the screen, then single elements."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from torch import Tensor

from diagnose.errors import CheckError
from diagnose.gradcheck._custom import LARGE, NotLinear, Source, custom_nodes, graph_behind, not_linear, source_of
from diagnose.gradcheck._differences import Differences, random_signs
from diagnose.gradcheck._examine import NOISY, ROUGH, Examiner, Outcome, Tolerances, Verdict
from diagnose.gradcheck._localise import SMALL, Element, Localiser, Located, Mode
from diagnose.gradcheck._patterns import guess
from diagnose.gradcheck._prepare import FULL
from diagnose.gradcheck._problem import Gradients, Problem, flat
from diagnose.gradcheck._report import Entry
from diagnose.gradcheck._screen import screen

REPEATS: Final = 1e3
"""Rounding units by which two runs of the same thing may differ, as sums in varying order do on a GPU."""
_BACKWARD_RAISES: Final = (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError, AssertionError)
JITTER: Final = 1e-2
"""In units of a tensor's scale: how far beside the point no kink of that point is left."""
RESIDUE: Final = 1e6
"""Rounding units of the outputs' size; ill-conditioned layers leave so much where a gradient should cancel."""
NUDGE: Final = 1e-3
NUDGES: Final = 5
NEGLIGIBLE: Final = 1e-28
"""Of the outputs' size, per unit of scale: a derivative below the rounding of a rounding error changes nothing."""
EXCUSED: Final = 16
"""Elements at a kink whose surroundings are looked at."""
KEPT: Final = 10


@dataclass(frozen=True)
class Plan:
    """How thoroughly to look.

    Attributes:
        directions: random directions per tensor.
        seconds: how long single elements may be looked for.
        told: called with the number of tensors that are done and of all.
    """

    mode: Mode = "auto"
    directions: int = 2
    seconds: float = 30.0
    seed: int = 0
    rtol: float = 1e-4
    told: Callable[[int, int], None] = lambda done, total: None


@dataclass
class Judgement:
    """What was found in one problem.

    Attributes:
        gradients: for upstream gradients around 1; None if the backward raised.
        cotangent: these upstream gradients, shape (m,).
        values: the outputs, shape (m,).
        functions: the custom functions that take part.
    """

    entries: list[Entry]
    rough: bool = False
    gradients: Gradients | None = None
    cotangent: Tensor = field(default_factory=lambda: torch.zeros(0))
    values: Tensor = field(default_factory=lambda: torch.zeros(0))
    functions: tuple[Source, ...] = ()
    not_linear: tuple[NotLinear, ...] = ()
    notes: list[str] = field(default_factory=list)


def judge(problem: Problem, plan: Plan, *, order: int = 1) -> Judgement:
    """Checks every slot of `problem`, whose state has been entered.

    Raises:
        CheckError: nothing that the function returns requires a gradient.
    """
    return _Judge(problem, plan, order).judgement()


class _Judge:
    def __init__(self, problem: Problem, plan: Plan, order: int) -> None:
        self.problem = problem
        self.plan = plan
        self.order = order
        self.generator = torch.Generator().manual_seed(plan.seed)
        self.notes: list[str] = []
        self.rough = False
        self._beside: list[Gradients] = []
        self._cotangent = self._values = torch.zeros(0)

    def judgement(self) -> Judgement:
        problem = self.problem
        outputs = problem.outputs()
        problem.state.note_what_moves()
        if not outputs or not any(output.numel() for output in outputs):
            raise CheckError("Nothing that the function returns requires a gradient: is it detached, or an integer?")
        values, epsilons = _values(outputs), problem.epsilons(outputs)
        if self.order == 2 and any("Error" in node.name() for node in graph_behind([o.grad_fn for o in outputs])):
            why = "its backward can be differentiated once only (once_differentiable)"
            return Judgement([self._entry(p, "not-checkable", reason=why) for p in range(len(problem.slots))])
        rough = any(t.dtype not in FULL for t in (*outputs, *(slot.leaf for slot in problem.slots)))
        cotangents = self._cotangents(values, rough)
        self._cotangent, self._values = cotangents[0], torch.where(torch.isfinite(values), values, 0.0)
        functions = tuple(dict.fromkeys(source_of(type(n)._forward_cls) for n in custom_nodes(outputs)))
        self.rough = rough
        judgement = Judgement([], rough, None, cotangents[0], values, functions, notes=self.notes)
        # All passes through one graph come before the next forward: it may write into what this one has saved.
        try:
            gradients = [problem.gradients(outputs, cotangent) for cotangent in cotangents]
            judgement.not_linear = tuple(not_linear(outputs, self.generator)) if self.order == 1 else ()
            outputs = problem.outputs()
            problem.state.note_what_moves()
            repeated = problem.gradients(outputs, cotangents[0])
        except _BACKWARD_RAISES as error:
            judgement.entries = self._raised(error)
            return judgement
        if reason := _unequal(values, _values(outputs), epsilons):
            why = f"the forward is not deterministic: with the same inputs and random seed two runs {reason}"
            judgement.entries = [self._entry(p, "unresolved", reason=why) for p in range(len(problem.slots))]
            return judgement
        judgement.gradients = gradients[0]
        del outputs
        problem.with_graph = problem.with_graph or not self._same_without_graph(values)
        differences = Differences(
            problem,
            cotangents,
            [torch.stack([g.values[p] for g in gradients]) for p in range(len(problem.slots))],
            values,
            epsilons,
        )
        differences.measure_noise(self.generator)
        tolerances = ROUGH if rough else Tolerances(element=self.plan.rtol)
        localiser = Localiser(
            Examiner(differences, tolerances),
            self.generator,
            mode=self.plan.mode,
            deadline=time.monotonic() + self.plan.seconds,
        )
        for position in range(len(problem.slots)):
            entry = self._judge_slot(localiser, position, gradients[0])
            entry = self._with_contract(entry, position, judgement, gradients[0], repeated)
            judgement.entries.append(entry)
            self.plan.told(position + 1, len(problem.slots))
        return judgement

    def _same_without_graph(self, values: Tensor) -> bool:
        """Whether the function computes the same without a graph: no fast path, no gradient taken inside."""
        try:
            return torch.equal(self.problem.values(), values)
        except Exception:
            return False

    # ------------------------------------------------------------------ what is fed in

    def _cotangents(self, values: Tensor, rough: bool) -> Tensor:
        """Upstream gradients around 1, and of magnitudes up to LARGE, shape (2, m); 0 at outputs that are not finite.

        A backward that clamps, normalises or ignores them is right for the ones or for the others, but not for both.
        """
        ordinary = random_signs(values.numel(), self.generator)
        exponents = torch.rand(values.numel(), generator=self.generator, dtype=torch.float64)
        large = random_signs(values.numel(), self.generator) * (LARGE if not rough else 64.0) ** exponents.sqrt()
        return torch.where(torch.isfinite(values), torch.stack([ordinary, large]), 0.0)

    # ------------------------------------------------------------------ one tensor

    def _judge_slot(self, localiser: Localiser, position: int, gradients: Gradients) -> Entry:
        examiner = localiser.examiner
        slot = self.problem.slots[position]
        outcome = screen(examiner, position, self.generator, directions=self.plan.directions)
        unusable = bool(examiner.differences.unusable[position].any())
        # Directions see less in the noise of less than float64: there single elements are looked at, if there are few.
        thorough = self.plan.mode == "exhaustive" or (
            self.rough and len(slot.base) <= SMALL and outcome.verdict == "ok"
        )
        if outcome.verdict == "ok" and outcome.detects == math.inf and self._is_stable(position, gradients):
            outcome = self._by_relative_outputs(examiner, position, outcome)
        elif outcome.verdict != "ok" and self._is_residue(examiner, position, outcome, gradients):
            outcome = replace(outcome, verdict="ok", error=0.0, detects=math.inf, why="")
        if outcome.verdict != "fault" and not thorough and not unusable:
            reason = outcome.why
            if position in gradients.missing and outcome.verdict == "ok":
                reason = "no gradient, and none is needed: the outputs do not depend on it"
            return self._entry(position, outcome.verdict, outcome=outcome, reason=reason)
        located = localiser.locate(
            position,
            off_kinks=lambda: self._right_beside(localiser, position),
            excuse=lambda located: self._excuse_kinks(localiser, position, located),
        )
        self._excuse_kinks(localiser, position, located)
        entry = self._from_elements(localiser, position, outcome, located)
        if entry.verdict == "fault":
            sizes = sorted({size for s in self.problem.slots for size in s.shape} | {len(slot.base)})
            gradient = examiner.differences.gradients[position][0]
            pattern = guess(slot, gradient, located, sizes)
            if position in gradients.missing:
                pattern = "no gradient comes back (None), and the outputs depend on it: detached, or None returned?"
            entry = replace(entry, pattern=pattern)
        return entry

    def _from_elements(self, localiser: Localiser, position: int, outcome: Outcome, located: Located) -> Entry:
        faults, kinks = located.having("fault"), located.having("kink")
        unresolved = located.having("unresolved")
        unusable = bool(localiser.examiner.differences.unusable[position].any())
        complete = located.covered >= self.problem.slots[position].base.numel()
        verdict: Verdict
        shown = sorted(faults or kinks or unresolved, key=lambda e: (e.upstream == "large", -_badness(e)))[:KEPT]
        if faults:
            verdict, reason = "fault", ""
        elif outcome.verdict != "fault" and not (unresolved and unusable):
            verdict, reason = outcome.verdict, outcome.why
            if kinks and verdict == "ok":
                verdict, reason = "kink", kinks[0].why
            elif unresolved and not reason:
                reason = f"{len(unresolved)} single derivatives are below the rounding noise; together they are right"
        elif outcome.verdict == "unresolved" or (unresolved and outcome.verdict != "fault"):
            verdict, reason = "unresolved", outcome.why or unresolved[0].why
        elif located.only_kinks or (kinks and complete):
            verdict = "kink"
            reason = kinks[0].why if kinks else "the function has a kink close by; a little beside it all is right"
        elif complete and not kinks and not self._drowned(outcome, located, localiser.examiner.tolerances):
            worst = max((e.error for e in located.elements.values()), default=0.0)
            verdict, reason = "ok", f"single derivatives agree to {max(worst, outcome.error):.1e}"
        elif outcome.error <= localiser.examiner.tolerances.element and not kinks:
            verdict, reason = "ok", f"agrees to {outcome.error:.1e} only; no single derivative is off by more"
        elif outcome.why == NOISY:
            verdict, reason = "unresolved", NOISY
        else:
            verdict, reason = "fault", "it is wrong along random directions; no single element was found"
        return replace(
            self._entry(position, verdict, outcome=outcome, reason=reason),
            checked=len(located.elements),
            faults=len(faults),
            kinks=len(kinks),
            worst=shown[0] if shown else max(located.elements.values(), key=_badness, default=None),
            elements=tuple(shown),
        )

    @staticmethod
    def _drowned(outcome: Outcome, located: Located, tolerances: Tolerances) -> bool:
        """Whether all elements together are wrong by more than the noise lets one see in single ones."""
        sizes = [(max(abs(e.analytic), abs(e.numeric)), e.noise) for e in located.elements.values()]
        return outcome.error > tolerances.element and any(noise > outcome.error * size for size, noise in sizes)

    def _is_stable(self, position: int, gradients: Gradients) -> bool:
        """Whether a gradient that is zero to rounding stays the same when all tensors are moved a little.

        What is left where terms cancel (a bias before batch normalisation) is another number at every point.
        """
        gradient = gradients.values[position]
        unit = float((gradient * self.problem.slots[position].scale).norm())
        if unit <= NEGLIGIBLE * float((self._cotangent * self._values).norm()):
            return False
        # Residues of rounding are few small multiples of one unit, and may be the same ones once or twice.
        moved = (self._gradients_beside(number).values[position] for number in range(NUDGES))
        return all(float((other - gradient).norm()) < 0.5 * float(gradient.norm()) for other in moved)

    def _is_residue(self, examiner: Examiner, position: int, outcome: Outcome, gradients: Gradients) -> bool:
        """Whether both derivatives are next to nothing, and the back-propagated one is a residue of rounding."""
        gradient = gradients.values[position]
        unit = float((gradient * self.problem.slots[position].scale).norm())
        limit = RESIDUE * examiner.differences.epsilon * float(examiner.differences.output_size[0])
        return 0 < unit <= limit and abs(outcome.numeric) <= limit and not self._is_stable(position, gradients)

    def _gradients_beside(self, number: int) -> Gradients:
        """The gradients at the `number`-th of some points nearby."""
        while len(self._beside) <= number:
            try:
                for slot in self.problem.slots:
                    slot.write(slot.base + NUDGE * slot.scale * random_signs(slot.base.numel(), self.generator))
                self._beside.append(self.problem.gradients(self.problem.outputs(), self._cotangent))
            finally:
                for slot in self.problem.slots:
                    slot.reset()
        return self._beside[number]

    def _by_relative_outputs(self, examiner: Examiner, position: int, zero: Outcome) -> Outcome:
        """The outcome with each output in units of its own size: a derivative may be tiny because its output is."""
        old = examiner.differences
        size = old.values.abs()
        finite = torch.isfinite(old.values) & (size > 0)
        weights = torch.where(finite, 1 / size.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
        cotangent = old.cotangents[0] * weights
        if size.numel() > 1 and bool(cotangent.isfinite().all()):
            outputs = self.problem.outputs()
            found = self.problem.gradients(outputs, cotangent)
            weighted = Differences(
                self.problem,
                cotangent[None],
                [g[None] for g in found.values],
                old.values,
                self.problem.epsilons(outputs),
            )
            weighted.noise = old.noise
            tried = Examiner(weighted, examiner.tolerances)
            outcome = screen(tried, position, self.generator, directions=self.plan.directions)
            if outcome.verdict == "ok" and outcome.detects < math.inf:
                return outcome
        why = "the derivative is too small, beside the outputs, to show in differences"
        return replace(zero, verdict="unresolved", why=why)

    def _excuse_kinks(self, localiser: Localiser, position: int, located: Located) -> None:
        """Turns faults into kinks where the back-propagated value is a limit of derivatives close by.

        At a tie of three in `sort`, the slopes to either side along one element say nothing about the middle one.
        Where all is right a little beside the point, and the derivatives around it embrace the value, it is an
        element of Clarke's generalised gradient.
        """
        faults = [p for p, element in located.elements.items() if element.verdict == "fault"]
        if not faults or located.only_kinks or not self._right_beside(localiser, position):
            return
        for flat_position in faults[:EXCUSED]:
            if not localiser.examiner.embraced(position, flat_position, self.generator):
                return
        located.only_kinks = True
        why = "the function has a kink here; the value is the limit of derivatives close by"
        for flat_position in faults:
            element = located.elements[flat_position]
            located.elements[flat_position] = replace(element, verdict="kink", why=why)

    def _right_beside(self, localiser: Localiser, position: int) -> bool:
        """Whether the gradient is right a little beside this point, where no kink lies."""
        slot, old = self.problem.slots[position], localiser.examiner.differences
        moved = slot.base + JITTER * slot.scale * random_signs(slot.base.numel(), self.generator)
        with slot.at(moved):
            outputs = self.problem.outputs()
            values = _values(outputs)
            found = [self.problem.gradients(outputs, v) for v in old.cotangents]
            gradients = list(old.gradients)
            gradients[position] = torch.stack([g.values[position] for g in found])
            beside = Differences(self.problem, old.cotangents, gradients, values, self.problem.epsilons(outputs))
            beside.noise = torch.maximum(beside.noise, old.noise)
            examiner = Examiner(beside, localiser.examiner.tolerances)
            return screen(examiner, position, self.generator, directions=self.plan.directions).verdict == "ok"

    def _with_contract(
        self, entry: Entry, position: int, judgement: Judgement, gradients: Gradients, repeated: Gradients
    ) -> Entry:
        """The entry, or a worse one if the backward does not repeat or is not linear in what comes from upstream."""
        leaf = self.problem.slots[position].leaf
        first, again = gradients.values[position], repeated.values[position]
        unit = torch.full_like(first, torch.finfo(leaf.dtype).eps)
        if reason := _unequal(first, again, unit):
            why = f"the backward is not deterministic: two passes with the same upstream gradient {reason}"
            return replace(entry, verdict="fault", reason=why)
        for found in judgement.not_linear:
            if entry.verdict != "fault" and any(leaf is other for other in found.leaves):
                why = f"the backward of {found.source} {found.why}; it is right here by chance only"
                return replace(entry, verdict="fault", reason=why)
        return entry

    # ------------------------------------------------------------------ entries

    def _raised(self, error: Exception) -> list[Entry]:
        text = str(error).strip().splitlines()[0] if str(error).strip() else ""
        missing = isinstance(error, NotImplementedError) or any(
            words in text for words in ("is not implemented", "once_differentiable", "does not require grad")
        )
        why = f"the backward raises {type(error).__name__}: {text}"
        return [
            self._entry(p, "not-checkable" if missing else "fault", reason=why) for p in range(len(self.problem.slots))
        ]

    def _entry(self, position: int, verdict: Verdict, *, outcome: Outcome | None = None, reason: str = "") -> Entry:
        slot = self.problem.slots[position]
        return Entry(
            slot.name,
            slot.kind,
            slot.shape,
            slot.dtype,
            verdict,
            slot.base.numel(),
            order=self.order,
            error=outcome.error if outcome else 0.0,
            detects=outcome.detects if outcome else float("nan"),
            reason=reason,
        )


def _badness(element: Element) -> float:
    gap = abs(element.analytic - element.numeric)
    return gap if gap == gap else float("inf")


def _values(outputs: Sequence[Tensor]) -> Tensor:
    return torch.cat([flat(output) for output in outputs])


def _unequal(first: Tensor, second: Tensor, unit: Tensor) -> str | None:
    """How two runs differ, if by more than sums in another order would; None if they agree."""
    if torch.equal(first, second):
        return None
    difference = torch.nan_to_num((first - second).abs(), nan=0.0)
    both_nan = first.isnan() & second.isnan()
    if bool((first.isnan() != second.isnan()).any()):
        return "one gives NaN where the other does not"
    size = torch.where(both_nan, 0.0, torch.maximum(first.abs(), second.abs())).max()
    if bool((difference <= REPEATS * unit * size).all()):
        return None
    return f"differ by up to {float(difference.max()):.3g}"
