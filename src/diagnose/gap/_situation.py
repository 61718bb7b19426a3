"""All that is known of a trained model, from wherever it came, before anything is concluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from diagnose.findings import json_safe
from diagnose.gap._curves import Course, Curves, course_of
from diagnose.gap._error import Measured, shown
from diagnose.gap._hyperparameters import Hyperparameters
from diagnose.stats.intervals import Interval

Verdict: TypeAlias = Literal[
    # The training error is above the target, and nothing speaks against the optimisation: the model is too small, or
    # regularised too much.
    "underfitting",
    # The training error is fine, and the test error is above it by more than their noise.
    "overfitting",
    # The training error is above the target because the training diverged, stands still, or was cut short.
    "optimization-failure",
    # Wrong labels explain a good part of the error.
    "data-quality",
    # The test error is not that of the model: labels out of order, another preprocessing, a wrong metric.
    "evaluation-bug",
    # The model that was loaded is not the one that was saved.
    "save-load-bug",
    # The test examples, or their labels, were seen in training.
    "leak",
    # The test examples are of another distribution than the training examples.
    "distribution-mismatch",
    # The test error is at the target or below, beyond its noise.
    "target-met",
    # Numbers are missing, or too noisy.
    "cannot-tell",
]
VERDICTS: Final = get_args(Verdict)
BROKEN: Final = frozenset({"evaluation-bug", "save-load-bug", "leak", "distribution-mismatch"})
"""Verdicts by which the test error says nothing about the model yet."""


@dataclass(frozen=True)
class Evidence:
    """One observation.

    Attributes:
        message: a sentence with its numbers.
        interval: its key number with the confidence interval; None if it has none.
        numbers: all of them, thresholds included.
    """

    message: str
    interval: Interval | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        interval = None
        if self.interval is not None:
            interval = {
                "value": self.interval.value,
                "low": self.interval.low,
                "high": self.interval.high,
                "confidence": self.interval.confidence,
            }
        data: dict[str, Any] = json_safe({"message": self.message, "interval": interval, "numbers": dict(self.numbers)})
        return data


@dataclass(frozen=True)
class Limits:
    """The thresholds.

    Attributes:
        train_confidence: of the interval of the training error that has to lie above the target: 99 %, for what
            follows from it (a larger model) is dear.
        pipeline_confidence: of the difference of test and train-dev error: z = 3, for it accuses the program.
        pipeline_difference: by which share of wrong answers its lower end has to exceed that: a real test set is
            always a little different.
        suspects: share of labels that the model contradicts with a margin of a half, above which they are looked
            at: a few examples of any data set are ambiguous.
        suspects_of_error: share of the error in question that they have to explain: a third, for about half of
            what is flagged is confirmed by people (Northcutt et al., 2021).
        strong_dropout: above which dropout is taken for the cause without further evidence: at .8 a fifth of the
            units is left.
        strong_decay, strong_decoupled_decay: the same for weight decay, added to the gradient or applied apart.
        train_mode_ratio: training loss with dropout over that without, above which dropout holds the model back.
        still_falling: share of the whole fall of the loss in the second half of the training: a straight line
            makes a half of it.
        unsteady: scatter of the loss from epoch to epoch, as a share of its level; twice that with dropout, which
            draws anew. Means over the same examples change only because the parameters do.
        rare_recall: how far the recall of a rare class has to lie below the average.
        doubling: by what share the last doubling of the data has to have cut the error to recommend more: power laws
            with exponents from .1 on are usual (Hestness et al., 2017), and 2 ** -.1 = .93.
        leaked_rows: share of test rows that are in the training data too.
        leaking_feature: correlation of one feature with the label.
        separable: area under the curve of a classifier that tells test inputs from training inputs.
    """

    train_confidence: float = 0.99
    pipeline_confidence: float = 0.9973
    pipeline_difference: float = 0.01
    suspects: float = 0.02
    suspects_of_error: float = 1 / 3
    strong_dropout: float = 0.8
    strong_decay: float = 1e-2
    strong_decoupled_decay: float = 1.0
    train_mode_ratio: float = 1.5
    still_falling: float = 0.2
    unsteady: float = 0.05
    rare_recall: float = 0.1
    doubling: float = 0.07
    leaked_rows: float = 0.02
    leaking_feature: float = 0.95
    separable: float = 0.75


@dataclass(frozen=True)
class RareClass:
    """A class of which few examples are answered rightly.

    Attributes:
        name: of the class.
        recall: with its interval.
        average: recall over all classes, weighted equally.
        share: of the examples, those of this class.
        even: the share that it would have among classes of equal size.
    """

    name: str
    recall: Interval
    average: float
    share: float
    even: float


@dataclass(frozen=True)
class ProbeResult:
    """A short experiment with one change.

    Attributes:
        change: "learning rate x10", ...
        hyperparameter, kind, before, after: what was changed.
        train, test: the errors with the change; None if not known.
        base_train, base_test: those without it, from the same experiment.
        repeats: with how many seeds.
    """

    change: str
    hyperparameter: str | None
    kind: str
    before: float | int | None
    after: float | int | None
    train: Measured | None
    test: Measured | None
    base_train: Measured | None
    base_test: Measured | None
    repeats: int = 1

    def gain(self, on: Literal["train", "test"]) -> Interval | None:
        """By how much the change lowers the error, with its interval; None if it is not known."""
        after = self.train if on == "train" else self.test
        before = self.base_train if on == "train" else self.base_test
        return None if after is None or before is None else before.minus(after)


@dataclass
class Situation:
    """What is known; None or empty where it is not.

    Attributes:
        train, test, train_dev, human: the errors.
        target: the error that is wanted.
        n_train: examples of the training data.
        classes: how many; None for a regression, or if unknown.
        suspects: share of training labels that are very likely wrong.
        suspects_of_model: whether they are those that the model itself contradicts, and nobody else named them.
        doubling: by what share the last doubling of the training data cut the test error.
        rare: the class with the lowest recall, if it is a rare one and its recall is low.
        train_mode: training loss in training mode over that in evaluation mode.
        measured_here: whether the errors were measured here, so in evaluation mode.
        reloaded: what is wrong with the model that was saved and loaded.
        leaks, mismatches, contradictions: what speaks for a leak; for test data of another distribution; for a test
            error that is not the model's.
        probes: results of the experiments.
        evidence: what was seen, by name, in order.
        notes: what was assumed, and what could not be done.
    """

    train: Measured | None = None
    test: Measured | None = None
    train_dev: Measured | None = None
    human: Measured | None = None
    target: float | None = None
    n_train: float | None = None
    classes: int | None = None
    curves: Curves = field(default_factory=Curves)
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    suspects: Measured | None = None
    suspects_of_model: bool = False
    doubling: float | None = None
    rare: RareClass | None = None
    train_mode: float | None = None
    measured_here: bool = False
    reloaded: Evidence | None = None
    leaks: list[Evidence] = field(default_factory=list)
    mismatches: list[Evidence] = field(default_factory=list)
    contradictions: list[Evidence] = field(default_factory=list)
    probes: list[ProbeResult] = field(default_factory=list)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)

    @property
    def course(self) -> Course:
        """How the training went."""
        return course_of(self.curves)

    @property
    def reference(self) -> float | None:
        """What the errors are compared with: the target; where there is none, what people reach."""
        if self.target is not None:
            return self.target
        return None if self.human is None else self.human.value

    @property
    def is_share(self) -> bool:
        """Whether errors are shares of wrong answers."""
        return all(one.is_share for one in (self.train, self.test, self.train_dev) if one is not None)

    def gap(self, confidence: float = 0.95) -> Interval | None:
        """Test error minus train error."""
        if self.test is None or self.train is None:
            return None
        return self.test.minus(self.train, confidence)

    def note(self, name: str, message: str, interval: Interval | None = None, **numbers: Any) -> None:
        """Adds evidence."""
        self.evidence[name] = Evidence(message, interval, numbers)

    def text(self, interval: Interval) -> str:
        """A difference of errors as people read it."""
        return shown(interval, self.is_share)
