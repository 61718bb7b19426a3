"""The course of an optimizer's loss: where it started, where it is now, what it would be without learning.

Many faults are faults only if training suffers from them: a layer may have small gradients, a learning
rate may look large, and yet the loss falls. So rules about gradients and updates ask here what the loss
did. The answer errs towards "it learned": a rule that needs a failed training to speak stays silent in
doubt.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from diagnose.history import Floats, History, Ints, ParameterFacts
from diagnose.rules.optimizer._weights import stepped_by
from diagnose.stats import curves

START_VALUES: Final = (3, 10)
"""The start is the median of the first 1/30 of the values, but of at least 3 (one outlier cannot move
it) and at most 10 (a network that learns has left its start after that)."""

MEDIAN_ERROR: Final = 1.25
"""Standard error of a median, as a multiple of that of the mean, under normal noise: sqrt(pi / 2)."""

JUMP: Final = 5.0
"""Standard deviations above the first loss from which on the next ones are not noise but damage."""

LATE_SHARE: Final = 0.1
"""The late level is the median over the last tenth of the steps."""

BLOCKS: Final = 20
"""Blocks of which the lowest and the highest level are taken: each of 5 % of the values."""

SOME: Final = 0.1
"""A network has learned something once its loss is a tenth below the start. Less is what the output bias
alone gains, or the initial disorder of the outputs: a classifier with 10 classes starts at 2.3 to 2.5
and comes down to ln 10 = 2.30 without having learned anything."""

PLAUSIBLE_START: Final = (0.9, 1.3)
"""A classifier starts near ln K. If it does not, the number of outputs is not the number of classes, or the
loss is a sum over the batch, or was scaled, or the model is trained already: then ln K means nothing."""

AROUND_UNINFORMED: Final = (0.97, 1.1)
"""Where the loss of a classifier ends that only guesses: unequal classes lower it, noise of the outputs raises it."""

GUESSING: Final = 0.99
"""Share of ln K from which on a classifier guesses: less than 1 %, three standard errors of a typical run of some
hundred steps, is no knowledge of the inputs. A signal that is worth learning gains more."""

_CROSS_ENTROPY: Final = ("NllLoss",)
_BINARY: Final = ("BinaryCrossEntropy",)


@dataclass(frozen=True, eq=False)
class Course:
    """The finite part of a loss curve.

    Attributes:
        optimizer: whose loss it is.
        streams: the streams that it is made of; if there are several, it is their sum.
        steps, values: shape (T,), T may be 0.
        broke_at: the first step with a non-finite loss, if there is one.
        uninformed: loss of a model that knows nothing about the input, where it can be told: ln K.
        informed: whether the loss function tells that the model knew something from the start.
    """

    optimizer: str
    streams: tuple[str, ...]
    steps: Ints
    values: Floats
    broke_at: int | None = None
    uninformed: float | None = None
    informed: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def last(self, share: float) -> Floats:
        """The values in the last `share` of the steps, but at least 3 if there are as many."""
        if not len(self):
            return self.values
        begin = self.steps[-1] - share * (self.steps[-1] - self.steps[0])
        count = max(int((self.steps > begin).sum()), 3)
        return self.values[-count:]

    def first(self, share: float) -> Floats:
        """The values in the first `share` of the steps, but at least 3 if there are as many."""
        if not len(self):
            return self.values
        end = self.steps[0] + share * (self.steps[-1] - self.steps[0])
        count = max(int((self.steps < end).sum()), 3)
        return self.values[:count]

    @functools.cached_property
    def _opening(self) -> Floats:
        fewest, most = START_VALUES
        return self.values[: min(max(fewest, len(self) // 30), most)]

    @functools.cached_property
    def start(self) -> float:
        """The level at the beginning; NaN if there are no values.

        The first loss is the only one that no step has touched. Where the next ones jump far above it,
        it alone tells where the run began.
        """
        if not len(self):
            return math.nan
        first, opening = float(self.values[0]), float(np.median(self._opening))
        return first if opening - first > JUMP * self.noise > 0 else opening

    @functools.cached_property
    def late(self) -> float:
        """The level at the end; NaN if there are no values."""
        return float(np.median(self.last(LATE_SHARE))) if len(self) else math.nan

    @functools.cached_property
    def levels(self) -> Floats:
        """Levels of consecutive blocks: shape (at most BLOCKS,)."""
        return curves.block_levels(self.values, BLOCKS)

    @functools.cached_property
    def lowest(self) -> float:
        """The lowest level of any block; the start if there are no blocks."""
        return float(self.levels.min()) if len(self.levels) else self.start

    @property
    def _block_error(self) -> float:
        """Standard error of the level of a block."""
        return MEDIAN_ERROR * self.noise / math.sqrt(max(len(self) / max(len(self.levels), 1), 1))

    @property
    def highest(self) -> float:
        """The highest level of any block, less what selection makes of it; the start if there are no blocks."""
        # The highest of 20 equal blocks lies about 2 of its standard errors too high.
        return float(self.levels.max()) - 2 * self._block_error if len(self.levels) else self.start

    @functools.cached_property
    def _calmer_half(self) -> tuple[float, float]:
        """Noise and level of the half of the curve that is calmer; (0, 0) where the noise cannot be told."""
        middle = len(self) // 2
        halves = (self.values[:middle], self.values[middle:]) if middle > 2 else (self.values,)
        known = [(curves.noise(half), float(np.median(half))) for half in halves if len(half) > 2]
        return min(known, default=(0.0, 0.0))

    @property
    def noise(self) -> float:
        """Standard deviation of one value around the curve, in the calmer half; 0 where it cannot be told."""
        return self._calmer_half[0]

    @property
    def reference(self) -> float:
        """What a model that learned nothing would show: the start, or ln K where that is lower."""
        return self.start if self.uninformed is None else min(self.start, self.uninformed)

    @property
    def anchored(self) -> bool:
        """Whether a level means something: the loss starts positive, stays so, and stands out of its noise.

        The losses of policy gradients, of critics, and densities have no floor, and no level that is
        good or bad.
        """
        return bool(len(self) and self.start > self.noise and self.lowest > 0)

    def remaining(self) -> float:
        """Share of the reference that is left at the end: 1 if nothing was learned, NaN without an anchor."""
        return self.late / self.reference if self.anchored else math.nan

    @property
    def start_error(self) -> float:
        """Standard error of the start. Noise mostly grows with the loss: at a lower start it was lower too."""
        noise, level = self._calmer_half
        at_start = noise * min(1.0, abs(self.start / level)) if level else noise
        return MEDIAN_ERROR * at_start / math.sqrt(len(self._opening)) if len(self) else 0.0

    @property
    def _reference_error(self) -> float:
        """Standard error of the reference: none where it is ln K."""
        return 0.0 if self.uninformed is not None and self.uninformed <= self.start else self.start_error

    def fell(self, share: float = SOME) -> bool:
        """Whether the loss was ever `share` below its reference, and by more than noise explains."""
        if not len(self):
            return False
        # The lowest of 20 equal blocks lies about 2 of its standard errors too low, by selection alone.
        gain = self.reference - min(self.lowest + 2 * self._block_error, self.late)
        return gain >= share * abs(self.reference) and gain > 2 * self._reference_error

    def surely_kept(self, share: float) -> bool:
        """Whether it is beyond noise that the loss ends above `share` of its reference."""
        mean, error = curves.mean_and_error(self.last(0.2))
        lowest_end = min(mean, self.late) - 2 * error
        return lowest_end > share * (self.reference + 2 * self._reference_error)

    def gained(self, sigmas: float = 2.0) -> bool:
        """Whether the loss ends below its reference by more than its correlated noise: it learned, however little."""
        mean, error = curves.mean_and_error(self.last(0.2))
        return self.reference - mean > sigmas * error

    def guesses(self, share: float = GUESSING) -> bool | None:
        """Whether the loss is, within its noise, still that of a model without knowledge; None if that is not known."""
        if self.uninformed is None:
            return None
        mean, error = curves.mean_and_error(self.last(0.2))
        return mean + 2 * error >= share * self.reference

    def wanders(self) -> float:
        """How much more the level moves, in the second half, than independent noise would move it: 1 if it does not.

        It moves where the model does, from one step to the next, for better or worse; noise of the data
        alone is independent from batch to batch. NaN for fewer than 32 values.
        """
        half = self.values[len(self) // 2 :]
        spread = float(np.std(half)) if len(half) >= 16 else 0.0
        if not spread:
            return math.nan
        return curves.mean_and_error(half)[1] / (spread / math.sqrt(len(half)))

    def keeps(self, share: float = SOME) -> bool:
        """Whether the loss is still `share` below its reference at the end."""
        return self.reference - self.late >= share * abs(self.reference)


def courses(history: History, optimizer: str) -> list[Course]:
    """The courses of an optimizer's losses, longest first.

    Streams that are seen at the same steps are added up: the optimizer follows the sum of their gradients.
    """
    streams = [name for name, facts in history.losses.items() if facts.optimizer == optimizer]
    series = {name: history.series("loss", name) for name in streams}
    groups: list[list[str]] = []
    for name in streams:
        for group in groups:
            if np.array_equal(series[group[0]].steps, series[name].steps):
                group.append(name)
                break
        else:
            groups.append([name])
    found = []
    for group in groups:
        steps = series[group[0]].steps
        total = np.sum([series[name].values for name in group], axis=0)
        finite = curves.finite_prefix(total)
        course = Course(
            optimizer,
            tuple(group),
            steps[:finite],
            total[:finite],
            int(steps[finite]) if finite < len(steps) else None,
        )
        guess = _guessing_level(history, optimizer, group)
        if guess is not None and len(course):
            course = replace(
                course,
                uninformed=guess if _tells(course, guess) else None,
                informed=course.start < PLAUSIBLE_START[0] * guess,
            )
        found.append(course)
    return sorted(found, key=lambda course: (-len(course), course.streams))


def main_course(history: History, optimizer: str) -> Course | None:
    """The longest course of an optimizer's losses, None if no loss was seen."""
    found = courses(history, optimizer)
    return found[0] if found else None


def opponents(history: History, optimizer: str) -> list[str]:
    """Optimizers of other parameters that are stepped over the same steps and with a loss of their own.

    They may play against each other, as in a GAN, so that a loss that rises or stays says nothing. (They may also be
    independent.)
    """
    own, parameters = _span(history, optimizer), set(stepped_by(history, optimizer))
    if own is None or not parameters:
        return []
    found = []
    for other in history.optimizers:
        span = _span(history, other) if other != optimizer else None
        if span is None:
            continue
        others = set(stepped_by(history, other))
        if (
            others
            and not parameters & others
            and _overlap(own, span)
            and not _one_after_the_other(history, optimizer, other)
        ):
            found.append(other)
    return found


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two stretches of steps share more than half of the shorter one."""
    return min(one[1], other[1]) - max(one[0], other[0]) > 0.5 * min(one[1] - one[0], other[1] - other[0])


def _one_after_the_other(history: History, one: str, other: str) -> bool:
    """Whether they were not used at the same time, as in the folds of a cross-validation, by the steps of the run."""
    spans = [(facts.began, facts.ended) for facts in (history.optimizers[one], history.optimizers[other])]
    return all(ended > 0 for _, ended in spans) and not _overlap(*spans)


def learned(history: History, optimizer: str, share: float = SOME) -> bool | None:
    """Whether any loss of `optimizer` fell by `share`; None if the losses cannot tell."""
    found = courses(history, optimizer)
    if any(course.fell(share) for course in found):
        return True
    judgeable = [course for course in found if course.anchored]
    if not judgeable or opponents(history, optimizer):
        return None
    return False


def near_guessing(history: History, course: Course, share: float) -> bool:
    """Whether the only loss ends above `share` of that of a model that knows nothing, however high it began.

    By what the loss function is given, so that a sum or a mean over something else does not matter.
    """
    known = [
        (scope, facts.uninformed)
        for scope, facts in history.objectives.items()
        if facts.optimizer == course.optimizer and facts.alone and facts.uninformed is not None
    ]
    if len(known) != 1 or len(courses(history, course.optimizer)) != 1:
        return False
    ((scope, level),) = known
    values = history.series("objective", scope).values
    late = values[-max(3, len(values) // 5) :]
    return len(values) >= 3 and float(np.median(late)) >= share * level


def guesses_by_call(history: History, course: Course, share: float) -> bool:
    """Whether the only loss is a classification, and `near_guessing`, at its end as at every third of its course."""
    for scope, facts in history.objectives.items():
        if facts.optimizer == course.optimizer and facts.alone and facts.classes + facts.name.startswith("binary") > 0:
            values = history.series("objective", scope).values
            thirds = [float(np.median(part)) for part in np.array_split(values, 3)] if len(values) >= 15 else [0.0]
            level = facts.uninformed or math.inf
            return near_guessing(history, course, share) and min(thirds) >= share * level
    return False


def already_trained(history: History, course: Course) -> bool:
    """Whether the model had learned before this course began: a fine-tune, a resumed run, a last phase.

    Then a loss that stays where it is has probably converged. It shows in a loss far below that of
    guessing, or in an earlier training of this run that had brought its own loss down to where this one
    begins.
    """
    if course.informed:
        return True
    for other in history.optimizers:
        for earlier in courses(history, other) if other != course.optimizer else []:
            if earlier.fell() and course.start < 0.5 * (earlier.start + earlier.late):
                return True
    return False


def warming_up(history: History, optimizer: str) -> bool:
    """Whether the run ended while the learning rate of `optimizer` was still rising from a tenth or less."""
    for scope in history.scopes("lr"):
        if scope.rpartition("/")[0] == optimizer:
            rates = history.series("lr", scope).values
            if len(rates) > 2 and rates[-1] >= 0.99 * rates.max() and rates[0] <= 0.1 * rates[-1]:
                return True
    return False


def horizon(history: History, optimizer: str) -> float:
    """The first step at which something of `optimizer` was not finite, inf if all was finite.

    Nothing that was measured from then on can be blamed on anything else. Single non-finite gradients
    that the run survives (GradScaler skips them) do not count.
    """
    steps: list[float] = [math.inf]
    steps.extend(c.broke_at for c in courses(history, optimizer) if c.broke_at is not None)
    norms = history.series("grad_norm", optimizer)
    broken = curves.trailing_run(~np.isfinite(norms.values))
    if broken < len(norms):
        steps.append(int(norms.steps[broken]))
    own = set(stepped_by(history, optimizer))
    for clock, table in history.tables("param_rms"):
        if clock == optimizer:
            columns = [column for column, name in enumerate(table.scopes) if name in own]
            rows = np.flatnonzero(np.isinf(table.values[:, columns]).any(axis=1))
            if len(rows):
                steps.append(int(table.steps[rows[0]]))
    return min(steps)


def first_break(history: History) -> float:
    """The first step at which anything was not finite for any optimizer, inf if all was finite."""
    return min((horizon(history, optimizer) for optimizer in history.optimizers), default=math.inf)


def _span(history: History, optimizer: str) -> tuple[int, int] | None:
    found = [c for c in courses(history, optimizer) if len(c)]
    if not found:
        return None
    return min(int(c.steps[0]) for c in found), max(int(c.steps[-1]) for c in found)


def guessing_level(history: History, course: Course) -> float | None:
    """What a model without knowledge would get, ln K for K classes, wherever the loss began; None if unknown."""
    return _guessing_level(history, course.optimizer, list(course.streams))


def _guessing_level(history: History, optimizer: str, streams: list[str]) -> float | None:
    """Ln K where the loss is a cross-entropy over K classes, as far as can be known; else None."""
    if len(streams) != 1:
        return None
    grad_fn = history.losses[streams[0]].grad_fn
    if grad_fn.startswith(_BINARY):
        return math.log(2)
    if grad_fn.startswith(_CROSS_ENTROPY):
        classes = _classes(history, streams[0]) or _outputs(history, optimizer)
        return math.log(classes) if classes >= 2 else None
    return None


def _classes(history: History, stream: str) -> int:
    """Number of classes that the loss function of this stream was seen to be given; 0 if none was seen."""
    loss = history.losses[stream]
    for facts in history.objectives.values():
        if facts.alone and facts.loss_line is not None and (facts.loss_file, facts.loss_line) == (loss.file, loss.line):
            return facts.classes
    return 0


def _tells(course: Course, guess: float) -> bool:
    """Whether the course began or stayed where guessing lies, so that the number of classes is probably right."""
    if PLAUSIBLE_START[0] * guess <= course.start <= PLAUSIBLE_START[1] * guess:
        return True
    # Outputs that were wild at first, and came to rest where guessing lies.
    low, high = (share * guess for share in AROUND_UNINFORMED)
    rest = course.levels[len(course.levels) // 2 :]
    return bool(
        course.start > guess and len(rest) and low <= rest.min() and rest.max() <= high and curves.trend(rest) > -2
    )


def _outputs(history: History, optimizer: str) -> int:
    """Number of outputs of the last layer to run, of those that `optimizer` trains; 0 if it is not known.

    If it trains no layer (but a prompt in front of a frozen model, say), of all.
    """
    owners = {facts.module for facts in history.parameters.values() if facts.module_type}
    last: dict[bool, ParameterFacts] = {}
    trained = set(stepped_by(history, optimizer))
    for name, facts in history.parameters.items():
        # A module with children ends after them, whatever its own parameters (a positional encoding) are for.
        inside = f"{facts.module}." if facts.module else ""
        is_leaf = not any(owner != facts.module and owner.startswith(inside) for owner in owners)
        if facts.order is None or len(facts.shape) < 2 or not is_leaf:
            continue
        best = last.get(name in trained)
        if best is None or best.order is None or facts.order > best.order:
            last[name in trained] = facts
    found = last.get(True) or last.get(False)
    return found.shape[0] if found is not None else 0
