"""What is known about a run: bounded series, events and facts. Pure data, no torch.

Collectors append, rules read. A *quantity* ("grad_rms") is measured for many *scopes* ("fc1.weight")
at the same step, so the values of one quantity are kept as one table: a row per recorded step, a column
per scope. One append per quantity and step, whatever the number of parameters.

Memory: a table holds at most `capacity` rows, so a run with P parameters and L layers keeps at most
8 * DETAIL_ROWS * (6 P + 14 L) bytes of detail, however long it runs; the loss keeps LOSS_ROWS rows a stream.

Three conventions of every table:
- NaN means "not observed at this step". A statistic that came out non-finite is stored as inf.
- A step is the number of steps that the optimizer concerned had made when this one ended: 1 is the first.
- Each optimizer has its own clock (a critic makes five steps where its generator makes one), so a quantity
  has one table per clock. A scope lives in one of them; readers need not know which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import HistoryError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Quantity = Literal[
    # Scope: a loss stream (one per line of the script that calls backward, and optimizer).
    "loss",
    # Scope: an evaluation stream, see EvaluationFacts: "eval", "eval@LINE".
    "eval_loss",
    # Scope: the name given to watch.log().
    "metric",
    # Scope: an optimizer. L2 norm over all its gradients as the step uses them / as clipping found them.
    "grad_norm",
    "grad_norm_before_clip",
    # Scope: "OPTIMIZER/GROUP". On sampled steps.
    "lr",
    # Scope: a parameter. Over the whole tensor, at the step, after clipping.
    "param_rms",
    "grad_rms",
    "grad_max",
    # Scope: a parameter. Over a window of at most 4,096 elements that rotates from sample to sample.
    "grad_zero_share",
    "grad_nonfinite_share",
    "update_rms",
    "update_ratio",
    # Scope: a layer (an activation or the output of a layer with parameters), over a bounded sample.
    "pre_mean",
    "pre_rms",
    "pre_min",
    "pre_max",
    "out_rms",
    "nonfinite_share",
    # Share of elements that are active; mean of |f'(pre)| / max |f'|; entropy of a softmax / ln(classes).
    "active_share",
    "slope_mean",
    "entropy_share",
    # Scope: a layer, over a window of batches: the share of its units that were active for no example
    # of the bounded samples / of whole batches (an exact maximum) / whose mean relative slope is below 0.1.
    "silent_share",
    "dead_share",
    "saturated_share",
    # Scope: a layer: the gradient of the loss with respect to its output.
    "output_grad_rms",
    "output_grad_zero_share",
    # Scope: an objective (a call of a loss function), over a bounded sample of rows: its value per example; how far
    # the outputs differ from row to row, and the targets; the class most rows are given, and the share that is.
    "objective",
    "output_spread",
    "output_scale",
    "target_spread",
    "answer",
    "answer_share",
    # Scope: "run". Wall seconds between optimizer steps, and how much of them was ours.
    "step_s",
    "own_s",
]
QUANTITIES: Final[tuple[str, ...]] = get_args(Quantity)

EventKind = Literal[
    # A loss, gradient, parameter or activation stopped being finite. detail: see collect/nonfinite.py.
    "non-finite",
    # A step used gradients that an earlier step had used already, added to new ones.
    "stale-gradients",
    # A step had no gradient that the step before it had not used.
    "no-new-gradient",
    # At least half of the backward passes since the step before were cleared away unused. detail: discarded, used,
    # same_line (whether a line that calls backward did both), file, line of backward, cleared_line.
    "gradients-discarded",
    # Gradients that another optimizer had used already were used by this one too. detail: other, parameters,
    # parameter, file, line of the step.
    "stepped-twice",
    # Clipping found a norm above its limit. detail: norm, limit, file, line.
    "clipped",
    # Before a step gradients were clipped that no step could use any more, or none. detail: after_step, exceeded,
    # limit, file, line.
    "clipped-too-late",
    # Gradients were clipped while GradScaler's factor was still in them. detail: scale, file, line.
    "clipped-while-scaled",
    # GradScaler found overflow and skipped the step. detail: scale, file, line.
    "step-skipped",
    # A collector raised and was switched off. detail: collector, error.
    "collector-failed",
    # A layer cannot be seen. detail: reason.
    "not-seen",
    # A model that is being trained ran without gradients, once or several times in a row. detail: see
    # collect/modes.py. Scope: the model.
    "ran-without-gradients",
    # `state_dict` of a model was asked for / given back to it by `load_state_dict`. Scope: "run".
    # `state_dict` of a model was asked for / given back to it by `load_state_dict`. Scope: "run". detail: steps of
    # each optimizer by then.
    "state-saved",
    "state-loaded",
]
EVENT_KINDS: Final[tuple[str, ...]] = get_args(EventKind)

LOSS_ROWS: Final = 1024
RUN_ROWS: Final = 512
DETAIL_ROWS: Final = 64
EVENTS_KEPT: Final = 64
ROWS_WAITING: Final = 64

# A loss is noisy and read as a trend: neighbours are averaged. Other rows are dropped, so that what is
# kept was really measured at its step.
ROWS: Final[Mapping[str, int]] = {
    "loss": LOSS_ROWS,
    "eval_loss": RUN_ROWS,
    "metric": RUN_ROWS,
    "grad_norm": RUN_ROWS,
    "grad_norm_before_clip": RUN_ROWS,
    "lr": RUN_ROWS,
    "step_s": RUN_ROWS,
    "own_s": RUN_ROWS,
}
_AVERAGED: Final = frozenset({"loss"})


class Series(NamedTuple):
    """One quantity of one scope where it was observed: steps of shape (T,), values of shape (T,)."""

    steps: Ints
    values: Floats

    def __len__(self) -> int:  # NamedTuple would say 2
        return len(self.steps)


class Table:
    """The values of one quantity: `steps` of shape (T,), `values` of shape (T, number of scopes).

    When `capacity` rows are reached, the older half is thinned to every second row (or to the means of
    neighbours): the recent past stays dense, the distant past becomes sparse, all of the run is covered.
    """

    def __init__(self, capacity: int, *, averaged: bool = False) -> None:
        if capacity < 4:
            raise HistoryError(f"a table needs room for 4 rows, got {capacity}")
        self.capacity = capacity
        self.averaged = averaged
        self._columns: dict[str, int] = {}
        self._steps = np.zeros(capacity, dtype=np.int64)
        self._values = np.full((capacity, 0), np.nan)
        self._rows = 0
        self._last = -1
        # What is recorded on every step must cost next to nothing: rows wait here until somebody reads.
        self._waiting: list[tuple[int, Mapping[str, float]]] = []

    @property
    def scopes(self) -> tuple[str, ...]:
        self._take_in()
        return tuple(self._columns)

    @property
    def steps(self) -> Ints:
        self._take_in()
        return self._steps[: self._rows]

    @property
    def values(self) -> Floats:
        self._take_in()
        return self._values[: self._rows, : len(self._columns)]

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Adds the values observed at `step`; a second append for the same step joins its row.

        A value that is NaN or infinite is stored as inf: NaN would say that it was not observed.

        Raises:
            HistoryError: `step` lies before the last one.
        """
        if not row:
            return
        if step < self._last:
            raise HistoryError(f"a series got step {step} after step {self._last}: rules read series in order of steps")
        self._last = step
        self._waiting.append((step, row))
        if len(self._waiting) >= ROWS_WAITING:
            self._take_in()

    def _take_in(self) -> None:
        waiting, self._waiting = self._waiting, []
        for step, row in waiting:
            self._put(step, row)

    def _put(self, step: int, row: Mapping[str, float]) -> None:
        if not self._rows or step != self._steps[self._rows - 1]:
            if self._rows == self.capacity:
                self._thin()
            self._steps[self._rows] = step
            self._values[self._rows] = np.nan
            self._rows += 1
        columns = [self._column(scope) for scope in row]
        self._values[self._rows - 1, columns] = [_finite_or_inf(value) for value in row.values()]

    def series(self, scope: str) -> Series:
        """The observed values of `scope`, without gaps; empty if the scope is unknown."""
        self._take_in()
        column = self._columns.get(scope)
        if column is None:
            return Series(np.zeros(0, dtype=np.int64), np.zeros(0))
        values = self._values[: self._rows, column]
        seen = ~np.isnan(values)
        return Series(self.steps[seen], values[seen])

    def restore(self, scopes: Sequence[str], steps: Ints, values: Floats) -> None:
        """Takes over rows that were read from another table of the same capacity.

        Raises:
            ValueError: shapes do not fit together or into the table, or steps are not in order.
        """
        if len(steps) > self.capacity or values.shape != (len(steps), len(scopes)):
            raise ValueError(f"{values.shape} values do not fit {len(steps)} steps of {len(scopes)} scopes")
        if np.any(np.diff(steps) <= 0):
            raise ValueError("steps are not in increasing order")
        self._columns = {scope: column for column, scope in enumerate(scopes)}
        self._values = np.full((self.capacity, len(scopes)), np.nan)
        self._values[: len(steps)] = values
        self._steps[: len(steps)] = steps
        self._rows = len(steps)
        self._last = int(steps[-1]) if len(steps) else -1
        self._waiting = []

    def _column(self, scope: str) -> int:
        column = self._columns.get(scope)
        if column is None:
            column = self._columns[scope] = len(self._columns)
            if column >= self._values.shape[1]:
                wider = np.full((self.capacity, max(8, 2 * column)), np.nan)
                wider[:, :column] = self._values[:, :column]
                self._values = wider
        return column

    def _thin(self) -> None:
        half = self.capacity // 2 // 2 * 2
        older = self._values[:half]
        kept = half // 2
        if self.averaged:
            pairs = older.reshape(kept, 2, -1)
            seen = ~np.isnan(pairs)
            total = np.where(seen, pairs, 0.0).sum(axis=1)
            with np.errstate(invalid="ignore"):
                self._values[:kept] = np.where(seen.any(axis=1), total / seen.sum(axis=1), np.nan)
            self._steps[:kept] = self._steps[1:half:2]
        else:
            self._values[:kept] = older[0:half:2]
            self._steps[:kept] = self._steps[0:half:2]
        newer = self._rows - half
        self._values[kept : kept + newer] = self._values[half : self._rows]
        self._steps[kept : kept + newer] = self._steps[half : self._rows]
        self._rows = kept + newer


@dataclass(frozen=True)
class Event:
    """Something that happened at a step. `scope` says to whom (an optimizer, a layer, ...)."""

    step: int
    kind: EventKind
    scope: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class EventLog:
    """All events of one kind and scope: their number, the first ones and the latest ones."""

    total: int = 0
    first: list[Event] = field(default_factory=list)
    latest: list[Event] = field(default_factory=list)

    def append(self, event: Event) -> None:
        self.total += 1
        if len(self.first) < EVENTS_KEPT // 2:
            self.first.append(event)
            return
        self.latest.append(event)
        if len(self.latest) > EVENTS_KEPT // 2:
            del self.latest[0]


@dataclass
class EvaluationRows:
    """The rows that one place of the program evaluates a model on, against those that the model was trained on.

    Attributes:
        model, optimizer: the model, and the optimizer that trained it.
        file, line: the user's line that calls the model.
        phases: evaluation phases that were looked at.
        rows, distinct, equal_pairs: rows of the latest phase; different ones; pairs of equal ones.
        discrete: whether the values are whole numbers, so that equal rows may be so by chance.
        seen: different rows that training had had too by then, on the sampled steps.
        trained, trained_met: different rows of the sampled training steps; those that were evaluated too.
        coverage: share of the rows of the latest training batches that earlier sampled steps had had: an estimate
            of the share of all training rows that is known. 0 within the first epoch.
        repeated: share of the rows of later phases that had been met before; 1 if there was one phase.
        beside: training steps right before which this place was given the same rows.
        batches: of each call of the latest phase, its rows and those that training had too.
        training_batch: rows of the largest training batch.
        batches_trained: training batches that were read.
    """

    model: str = ""
    optimizer: str = ""
    file: str | None = None
    line: int | None = None
    phases: int = 0
    rows: int = 0
    distinct: int = 0
    equal_pairs: int = 0
    discrete: bool = False
    seen: int = 0
    trained: int = 0
    trained_met: int = 0
    coverage: float = 0.0
    repeated: float = 1.0
    beside: int = 0
    batches: list[tuple[int, int]] = field(default_factory=list)
    training_batch: int = 0
    batches_trained: int = 0


@dataclass
class ParameterFacts:
    """What is known about one parameter.

    Attributes:
        shape: its shape.
        module: qualified name of the module that owns it, "" if none is known.
        module_type: class name of that module, "" if none is known.
        order: rank of its module in the order of execution of the first forward seen, None if never run.
        requires_grad: whether autograd was asked for a gradient, when last looked at.
        optimizers: names of the optimizers that hold it, one entry per parameter group that does.
        forwards: sampled training steps in which its module ran.
        gradients: sampled steps at whose end it had a gradient.
        changed: True once its value was seen to change, False if it is bit for bit what it was at
            `first_step`, None if not yet compared.
        first_step: the step since which it has been known.
        removed_by: name of the normalisation that subtracts this bias again, "" if none was seen to.
    """

    shape: tuple[int, ...]
    module: str = ""
    module_type: str = ""
    order: int | None = None
    requires_grad: bool = True
    optimizers: tuple[str, ...] = ()
    forwards: int = 0
    gradients: int = 0
    changed: bool | None = None
    first_step: int = 0
    removed_by: str = ""

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass
class LayerFacts:
    """What is known about one layer: an activation, or the output of a layer with parameters.

    Attributes:
        kind: "relu", "tanh", ..., or the function that computed it: "linear", "conv2d", ...
        module: qualified name of the innermost module in which it is computed, "" outside of modules.
        file, line: where the user's code calls it, if it is called by name rather than as a module.
        units: number of units (features or channels).
        order: rank in the order of execution.
        role: "hidden"; "gate" if its output is multiplied with another tensor; "output" if no layer
            with parameters comes after it; "attention" for a softmax between two matrix products.
        examples: rows (examples and positions) in the current per-unit window.
    """

    kind: str
    module: str = ""
    file: str | None = None
    line: int | None = None
    units: int = 0
    order: int = 0
    role: Literal["hidden", "gate", "output", "attention"] = "hidden"
    examples: int = 0


@dataclass
class ModeFacts:
    """What is known about a dropout or a normalisation with running statistics, in the steps of one optimizer.

    Attributes:
        kind, type: what it is; its class, or the function.
        module: its qualified name, "" for a function called by name at `file`, `line`.
        model: name of the model in which it runs.
        optimizer: whose steps are counted.
        p: the lowest probability of dropping that was seen, 0 for a normalisation.
        layer, units: the layer whose output it is given ("" if it comes before all layers), and how many of its
            units are dropped one by one: of a convolution whose elements may be flattened, at most so many.
        trained: whether that optimizer trains its parameters; if it has none, any of the module around it.
        share: share of the model's parameters that this optimizer trains.
        reached: whether it is part of the model, so that `model.eval()` reaches it.
        fresh: whether its running statistics were still those of a new module when it first ran in evaluation mode
            in a training step; None if it never did or has none.
        on, off: sampled steps in which it ran in training mode / in evaluation mode that was still set when the
            optimizer stepped.
        model_on: of the latter, those in which the model itself was in training mode.
        first_on, last_on, first_off, last_off: the steps; 0 if there are none.
    """

    kind: Literal["dropout", "normalization"]
    type: str
    module: str = ""
    file: str | None = None
    line: int | None = None
    model: str = ""
    optimizer: str = ""
    p: float = 0.0
    layer: str = ""
    units: int = 0
    trained: bool = False
    share: float = 0.0
    reached: bool = True
    fresh: bool | None = None
    on: int = 0
    off: int = 0
    model_on: int = 0
    first_on: int = 0
    last_on: int = 0
    first_off: int = 0
    last_off: int = 0


@dataclass
class OptimizerFacts:
    """What is known about one optimizer.

    Attributes:
        type: class name.
        steps: steps it has made.
        followed: steps whose gradients were followed since the step before: those that the events
            "stale-gradients" and "no-new-gradient" are a share of.
        closures: followed or sampled steps that were given a closure (LBFGS).
        backwards: backward passes in sampled intervals that gave it a gradient.
        clipped: sampled steps before which its gradients were clipped by norm.
        file, line: where it was first stepped from.
    """

    type: str
    steps: int = 0
    followed: int = 0
    closures: int = 0
    backwards: int = 0
    clipped: int = 0
    file: str | None = None
    line: int | None = None


@dataclass
class LossFacts:
    """What is known about one loss stream: the optimizer it feeds and the line that calls backward."""

    optimizer: str
    file: str | None = None
    line: int | None = None
    grad_fn: str = ""


Container = Literal["list", "dict", "object", "tensor", ""]


@dataclass
class LeafFacts:
    """A trainable leaf of the graph behind a loss that no module registers and no optimizer holds.

    Attributes:
        is_parameter: whether it is an nn.Parameter.
        is_weight: whether a matrix product, a convolution or a lookup uses it as its weight.
        holder: "Class.attribute" of the registered module that keeps it, "" if none was found.
        container: what that attribute is: a list (or tuple), a dict, some object, or the tensor itself.
        module: qualified name of that module.
        looks: how often it was found, once per step at most.
        changed: whether its value was ever seen to change.
        cleared: whether its gradient was ever found cleared.
        first_step, last_step: steps made when it was found first and last.
        file, line: where the attribute is assigned.
    """

    shape: tuple[int, ...]
    is_parameter: bool = True
    is_weight: bool = False
    holder: str = ""
    container: Container = ""
    module: str = ""
    looks: int = 0
    changed: bool = False
    cleared: bool = False
    first_step: int = 0
    last_step: int = 0
    file: str | None = None
    line: int | None = None


@dataclass
class SymmetryFacts:
    """A parameter whose units were all the same, with gradients that keep them so, whenever they were compared.

    Attributes:
        units: how many (of one gate, of a recurrent layer).
        looks: in how many sampled steps they were compared.
        zero: whether all of it was 0 at the last look.
        without_gradient: whether all of its gradient was 0 then.
        first_step, last_step: steps of its optimizer that were looked at first and last.
    """

    units: int = 0
    looks: int = 0
    zero: bool = False
    without_gradient: bool = False
    first_step: int = 0
    last_step: int = 0


@dataclass
class TwinFacts:
    """An embedding and the weight of another layer that were bit for bit the same before the first step.

    Attributes:
        table, other: the parameters' names.
        distance: norm of their difference over that of the embedding, at the last look.
        parted_at: the step before which they were first seen to differ for good; None while they do not.
        first_step, last_step: steps of the optimizer that were looked at first and last.
    """

    table: str
    other: str
    distance: float = 0.0
    parted_at: int | None = None
    first_step: int = 0
    last_step: int = 0


@dataclass
class LoadFacts:
    """What `load_state_dict` did to one module, the last time that it did something odd or something right.

    Attributes:
        module: qualified name of the module, or its class name.
        aliased: whether the state was the module's own memory, taken before that memory was last written.
        taken_at, loaded_at: steps made (over all optimizers) when the state was taken and loaded.
        keys, matched, missing: entries of the state, those that the module has, and those of the module that the
            state lacks.
        prefix: what makes the names fit if it is taken off those of the state ("module."), or off those of the
            module ("+encoder."); "" if nothing does.
        file, line: where it was loaded.
    """

    module: str
    aliased: bool = False
    taken_at: int = 0
    loaded_at: int = 0
    keys: int = 0
    matched: int = 0
    missing: int = 0
    prefix: str = ""
    file: str | None = None
    line: int | None = None


@dataclass
class ProbeFacts:
    """What came of an experiment on a copy of a batch; see collect/probes.py.

    Attributes:
        probe: "one-sample" or "next-token".
        model: qualified name of the module that was run, or its class name.
        reason: why it was not run; "" if it was.
        step: the step after which it was run.
        examples: examples in the batch, or places in the sequence.
        affected: share of the other examples, or of the earlier places, whose outputs changed.
        sees_target: whether the output just before the first replaced place changed: it predicts that place.
        softmax_across: whether a softmax goes along the examples.
        softmax_shape, file, line: the shape of what it is applied to, and where it is called.
    """

    probe: str
    model: str
    reason: str = ""
    step: int = 0
    examples: int = 0
    affected: float = 0.0
    sees_target: bool = False
    softmax_across: bool = False
    softmax_shape: list[int] = field(default_factory=list)
    file: str | None = None
    line: int | None = None


@dataclass
class EvaluationFacts:
    """What is known about one evaluation stream: losses measured again and again at the same place.

    Attributes:
        optimizer: the one whose steps were made between the evaluations, "" if there were none.
        file, line: where the loss function is called.
        half_of: the stream of which this is the first or the second half of the calls; None if it is a whole one.
    """

    optimizer: str = ""
    file: str | None = None
    line: int | None = None
    half_of: str | None = None


@dataclass
class LabelFacts:
    """Of which classes the batches were that one loss call got, on sampled steps.

    Attributes:
        optimizer: whose steps these were.
        file, line: the user's line that calls the loss.
        batches: for each batch [step, classes, counts], the last two of the same length. One batch is all that the
            call got between two steps, up to the first backward.
    """

    optimizer: str = ""
    file: str | None = None
    line: int | None = None
    batches: list[tuple[int, list[int], list[int]]] = field(default_factory=list)


@dataclass
class ObjectiveFacts:
    """What is known about one objective: a place in the program where a loss function is called in training.

    Samples are bounded, so numbers of rows and labels are those of the samples.

    Attributes:
        name: the loss function: "cross_entropy"; or "difference" or "log" for a loss written by hand.
        file, line: the user's line that calls it.
        optimizer: the one that steps next.
        loss_file, loss_line: the line that calls backward on a loss of which this is a part.
        calls: calls that were looked at.
        used: of those whose loss was looked at, the calls that were a part of it.
        alone: the calls that were all of it, but for constant factors.
        first_step, last_step: of `optimizer`, at which it was looked at.
        reduction: "mean", "sum" or "none".
        options: names of the options that are not at their default.
        input_shape, target_shape: at the latest call.
        classes: number of classes, 0 where there are none.
        operations: what made the input, nearest first, views left out: ("softmax", "addmm"). Empty if not known.
        low, high: bounds of the first of them, None where it has none.
        both_learn: whether gradients flow into the target, too.
        distributions: calls in which every row was a probability distribution.
        above_one: calls in which most rows, taken as log-probabilities, add up to more than one.
        positive: calls in which a tenth of the values or more were above zero.
        target_distributions, target_logs: calls whose target had rows that add up to one; values below zero.
        broadcast: calls in which both operands were enlarged, and neither had a dimension made for it.
        labels: how often each class was wanted; of at most 1,000 classes.
        target_mean, target_square, target_low, target_high: moments and extremes of real-valued targets.
        unreachable: mean square of how far targets lie outside of `low` and `high`.
        first_value: value per example before any optimizer step, None if it was not seen.
        uninformed: value per example of a model that knows nothing of the inputs: ln K, ln 2, the mean square of the
            targets; None if not known.
        reached: the first step at which the value was at most a tenth above `uninformed`.
    """

    name: str
    file: str | None = None
    line: int | None = None
    optimizer: str = ""
    loss_file: str | None = None
    loss_line: int | None = None
    calls: int = 0
    used: int = 0
    alone: int = 0
    first_step: int = 0
    last_step: int = 0
    reduction: str = "mean"
    options: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    target_shape: tuple[int, ...] = ()
    classes: int = 0
    operations: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    both_learn: bool = False
    distributions: int = 0
    above_one: int = 0
    positive: int = 0
    target_distributions: int = 0
    target_logs: int = 0
    broadcast: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    target_mean: float = 0.0
    target_square: float = 0.0
    target_low: float = 0.0
    target_high: float = 0.0
    unreachable: float = 0.0
    first_value: float | None = None
    uninformed: float | None = None
    reached: int | None = None

    @property
    def target_variance(self) -> float:
        return max(self.target_square - self.target_mean**2, 0.0)


@dataclass
class LifetimeFacts:
    """How long the graph behind one loss was alive. Steps are counted over all optimizers.

    Attributes:
        born: steps made when its backward began.
        died: steps made when the graph was freed; None if it was alive when the watch ended.
        file, line: where backward was called.
    """

    born: int
    died: int | None = None
    file: str | None = None
    line: int | None = None


@dataclass
class SchedulerFacts:
    """What is known about one learning rate scheduler.

    Attributes:
        type: class name.
        optimizer: name of its optimizer.
        calls: how often it was stepped, as last seen.
        steps: how many steps its optimizer had made by then, since both were first seen together.
        early: how often it had been stepped before the first step of its optimizer.
        base: the learning rate that it starts from, or that it is told to reach; the largest of the groups.
        settings: those of its own numbers that say how long it is meant to run.
        file, line: where it was made.
    """

    type: str
    optimizer: str
    calls: int = 0
    steps: int = 0
    early: int = 0
    base: float = 0.0
    settings: dict[str, float] = field(default_factory=dict)
    file: str | None = None
    line: int | None = None

    @property
    def calls_per_step(self) -> float:
        """About 1 if it is stepped with its optimizer, 1 / (steps per epoch) if once per epoch."""
        return self.calls / self.steps if self.steps > 0 else 0.0


@dataclass
class CopyFacts:
    """A model of the shapes of a trained one that no optimizer holds, as it was when it was called in eval mode.

    Attributes:
        model, type: its name (or class name) and its class name.
        looks_in_training, looks_in_evaluation: how often it was called, by the mode of the trained model then.
        moved: how often its parameters differed from what they were at the look before.
        follows: whether they were ever seen on the way that the trained model has gone.
        is_start: whether they were, at the last look, what the trained model's were before its first step.
        source_moved: whether the trained model's parameters no longer were.
        statistics: how many running means and variances of normalisations were compared.
        statistics_moved, source_statistics_moved: as `moved`, for those of the copy and of the trained model.
        statistics_are_new: whether those of the copy, and not those of the model, had seen no batch at the last look.
        averaged: how many models it is the average of, as torch's AveragedModel counts; None if it is none.
        first_step, last_step: steps made at the first and the last look, over all optimizers.
        file, line: where it was called last.
    """

    model: str
    type: str = ""
    looks_in_training: int = 0
    looks_in_evaluation: int = 0
    moved: int = 0
    follows: bool = False
    is_start: bool = False
    source_moved: bool = False
    statistics: int = 0
    statistics_moved: int = 0
    source_statistics_moved: int = 0
    statistics_are_new: bool = False
    averaged: int | None = None
    first_step: int = 0
    last_step: int = 0
    file: str | None = None
    line: int | None = None


@dataclass
class InputFacts:
    """What a trained layer that is applied to data gets, over a bounded sample of examples and positions.

    Attributes:
        optimizer: whose steps these were.
        kind: what computes the layer: "linear", "conv2d", ...
        module: its qualified name, "" outside of modules.
        file, line: the user's line that calls it.
        first_step, last_step: first and last of the steps that were looked at.
        rows: examples and positions read.
        features: number of features (channels).
        rms, mean, low, high: of all values. NaN and infinite ones are not counted.
        integers: whether all values were whole numbers.
        largest, smallest: extremes over the features of the root mean square of the values other than 0, without
            features that are almost always 0.
        normalized_next: whether the layer that runs next is a normalisation.
    """

    optimizer: str = ""
    kind: str = ""
    module: str = ""
    file: str | None = None
    line: int | None = None
    first_step: int = 0
    last_step: int = 0
    rows: int = 0
    features: int = 0
    rms: float = 0.0
    mean: float = 0.0
    low: float = 0.0
    high: float = 0.0
    integers: bool = False
    largest: float = 0.0
    smallest: float = 0.0
    normalized_next: bool = False


@dataclass
class TargetFacts:
    """Targets of a regression loss on sampled steps: the error of a constant answer.

    Attributes:
        optimizer: whose steps these were.
        variance: of the targets, each column by itself, as an average; what mse_loss gives for their mean.
        count: values read.
    """

    optimizer: str = ""
    variance: float = 0.0
    count: int = 0


@dataclass
class PairFacts:
    """How far the rows of a model's training data keep their labels from one epoch to the next.

    Attributes:
        model, optimizer: whose data this is.
        file, line: the user's line that calls the model.
        again, agreed: rows that were met again, by their bytes, and those that had the label of the first time.
        by_chance: share that would agree if labels were drawn at random.
        drawn, twins: all rows read, and how many of them had an equal one in the same batch.
    """

    model: str = ""
    optimizer: str = ""
    file: str | None = None
    line: int | None = None
    again: int = 0
    agreed: int = 0
    by_chance: float = 0.0
    drawn: int = 0
    twins: int = 0


@dataclass
class NeighbourFacts:
    """Whether examples that are near to one another have the same label; see collect/neighbours.py.

    Attributes:
        optimizer: whose steps these were.
        file, line: the user's line that calls the loss.
        rows: examples compared; 0 if there were none to compare.
        classes: different labels among them.
        agree, by_chance, sigmas: as stats.neighbours.Agreement.
        moved: how the labels of each batch would have to be moved to follow the inputs best; "" if in no way.
        moved_agree, moved_sigmas: how well they would.
    """

    optimizer: str = ""
    file: str | None = None
    line: int | None = None
    rows: int = 0
    classes: int = 0
    agree: float = 0.0
    by_chance: float = 0.0
    sigmas: float = 0.0
    moved: str = ""
    moved_agree: float = 0.0
    moved_sigmas: float = 0.0


@dataclass
class RunFacts:
    """What is known about the run as a whole; wall_s and own_s are seconds.

    Attributes:
        wall_s, own_s: how long the watch has been on, and how much of it was ours.
        startup_s: the part of own_s spent once: on imports, discovery, the dense first samples, and probes.
        sampled: sampled steps.
    """

    command: str = ""
    started: str = ""
    models: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    own_s: float = 0.0
    startup_s: float = 0.0
    steps: int = 0
    sampled: int = 0
    ending: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def overhead(self) -> float:
        """Share of the time without us that we added; the start-up is not in it."""
        plain_s = self.wall_s - self.own_s
        return max(self.own_s - self.startup_s, 0.0) / plain_s if plain_s > 0 else 0.0


class History:
    """Everything that rules and sinks may read about a run."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str], Table] = {}
        self._events: dict[tuple[str, str], EventLog] = {}
        self.parameters: dict[str, ParameterFacts] = {}
        self.layers: dict[str, LayerFacts] = {}
        self.modes: dict[str, ModeFacts] = {}
        self.optimizers: dict[str, OptimizerFacts] = {}
        self.losses: dict[str, LossFacts] = {}
        self.probes: dict[str, ProbeFacts] = {}
        self.evaluations: dict[str, EvaluationFacts] = {}
        self.leaves: dict[str, LeafFacts] = {}
        self.symmetric: dict[str, SymmetryFacts] = {}
        self.twins: list[TwinFacts] = []
        self.copies: list[CopyFacts] = []
        self.loads: list[LoadFacts] = []
        self.labels: dict[str, LabelFacts] = {}
        self.objectives: dict[str, ObjectiveFacts] = {}
        self.lifetimes: list[LifetimeFacts] = []
        self.schedulers: dict[str, SchedulerFacts] = {}
        self.targets: dict[str, TargetFacts] = {}
        self.pairs: dict[str, PairFacts] = {}
        self.evaluated: dict[str, EvaluationRows] = {}
        self.inputs: dict[str, InputFacts] = {}
        self.neighbours: dict[str, NeighbourFacts] = {}
        self.run = RunFacts()

    # -- writing --------------------------------------------------------------------------------

    def record(self, quantity: Quantity, step: int, row: Mapping[str, float], *, clock: str = "") -> None:
        """Adds the values of `quantity` at `step` of `clock`, by scope. Non-finite values are stored as inf.

        Args:
            clock: name of the optimizer whose steps are counted; "" counts those of the whole run.
        """
        table = self._tables.get((quantity, clock))
        if table is None:
            table = self._tables[quantity, clock] = _new_table(quantity)
        table.append(step, row)

    def note(self, kind: EventKind, step: int, scope: str, **detail: Any) -> None:
        """Adds an event."""
        if kind not in EVENT_KINDS:
            raise HistoryError(f"unknown event {kind!r}; history.py lists them")
        log = self._events.setdefault((kind, scope), EventLog())
        log.append(Event(step, kind, scope, detail))

    # -- reading --------------------------------------------------------------------------------

    def scopes(self, quantity: Quantity) -> tuple[str, ...]:
        """The scopes for which `quantity` was ever recorded, in order of first appearance."""
        return tuple(dict.fromkeys(scope for _, table in self.tables(quantity) for scope in table.scopes))

    def series(self, quantity: Quantity, scope: str) -> Series:
        """All kept values of one quantity of one scope; empty if there are none.

        Of a scope that was seen under several clocks, the one with most values.
        """
        found = [table.series(scope) for _, table in self.tables(quantity)]
        return max(found, key=len, default=Series(np.zeros(0, dtype=np.int64), np.zeros(0)))

    def aligned(self, *quantities: Quantity, scope: str) -> tuple[Ints, tuple[Floats, ...]]:
        """Steps at which all `quantities` were observed for `scope`, and their values there."""
        found = [self.series(quantity, scope) for quantity in quantities]
        steps = found[0].steps
        for series in found[1:]:
            steps = np.intersect1d(steps, series.steps, assume_unique=True)
        return steps, tuple(s.values[np.isin(s.steps, steps)] for s in found)

    def tables(self, quantity: Quantity) -> Iterator[tuple[str, Table]]:
        """The clocks and tables of `quantity`."""
        for (its_quantity, clock), table in self._tables.items():
            if its_quantity == quantity:
                yield clock, table

    def events(self, kind: EventKind, scope: str | None = None) -> Iterator[Event]:
        """The kept events of a kind (the first and the latest ones), scope by scope, in order."""
        for (its_kind, its_scope), log in self._events.items():
            if its_kind == kind and scope in (None, its_scope):
                yield from log.first
                yield from log.latest

    def count(self, kind: EventKind, scope: str | None = None) -> int:
        """How many events of a kind there were, kept or not."""
        return sum(
            log.total
            for (its_kind, its_scope), log in self._events.items()
            if its_kind == kind and scope in (None, its_scope)
        )

    # -- to and from plain data (storage.py does the I/O) ---------------------------------------------

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The history as JSON-compatible data and numeric arrays: views of it, to be stored at once."""
        arrays: dict[str, NDArray[Any]] = {}
        tables: list[dict[str, Any]] = []
        for number, ((quantity, clock), table) in enumerate(self._tables.items()):
            tables.append({"quantity": quantity, "clock": clock, "scopes": list(table.scopes)})
            arrays[f"steps{number}"] = table.steps
            arrays[f"values{number}"] = table.values
        data = {
            "tables": tables,
            "events": [
                {"total": log.total, "events": [vars(e) for e in (*log.first, *log.latest)]}
                for log in self._events.values()
            ],
            "parameters": {name: vars(facts) for name, facts in self.parameters.items()},
            "layers": {name: vars(facts) for name, facts in self.layers.items()},
            "modes": {name: vars(facts) for name, facts in self.modes.items()},
            "optimizers": {name: vars(facts) for name, facts in self.optimizers.items()},
            "losses": {name: vars(facts) for name, facts in self.losses.items()},
            "probes": {name: vars(facts) for name, facts in self.probes.items()},
            "evaluations": {name: vars(facts) for name, facts in self.evaluations.items()},
            "leaves": {name: vars(facts) for name, facts in self.leaves.items()},
            "symmetric": {name: vars(facts) for name, facts in self.symmetric.items()},
            "twins": [vars(facts) for facts in self.twins],
            "copies": [vars(facts) for facts in self.copies],
            "loads": [vars(facts) for facts in self.loads],
            "labels": {name: vars(facts) for name, facts in self.labels.items()},
            "objectives": {name: vars(facts) for name, facts in self.objectives.items()},
            "lifetimes": [vars(facts) for facts in self.lifetimes],
            "schedulers": {name: vars(facts) for name, facts in self.schedulers.items()},
            "pairs": {name: vars(facts) for name, facts in self.pairs.items()},
            "evaluated": {name: vars(facts) for name, facts in self.evaluated.items()},
            "targets": {name: vars(facts) for name, facts in self.targets.items()},
            "inputs": {name: vars(facts) for name, facts in self.inputs.items()},
            "neighbours": {name: vars(facts) for name, facts in self.neighbours.items()},
            "run": vars(self.run),
        }
        return data, arrays

    @classmethod
    def from_arrays(cls, data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> History:
        """The inverse of `to_arrays`; unknown fields of a newer version are ignored.

        Raises:
            KeyError, TypeError, ValueError: the data was not written by `to_arrays`.
        """
        history = cls()
        for number, stored in enumerate(data["tables"]):
            if stored["quantity"] in QUANTITIES:
                table = _new_table(stored["quantity"])
                table.restore(stored["scopes"], arrays[f"steps{number}"], arrays[f"values{number}"])
                history._tables[stored["quantity"], stored["clock"]] = table
        for log in data["events"]:
            restored = EventLog()
            for event in (_known(Event, e) for e in log["events"]):
                restored.append(event)
                history._events[event.kind, event.scope] = restored
            restored.total = log["total"]
        history.parameters = {n: _known(ParameterFacts, f) for n, f in data["parameters"].items()}
        for facts in history.parameters.values():
            facts.shape, facts.optimizers = tuple(facts.shape), tuple(facts.optimizers)
        history.layers = {n: _known(LayerFacts, f) for n, f in data["layers"].items()}
        history.modes = {n: _known(ModeFacts, f) for n, f in data.get("modes", {}).items()}
        history.optimizers = {n: _known(OptimizerFacts, f) for n, f in data["optimizers"].items()}
        history.losses = {n: _known(LossFacts, f) for n, f in data["losses"].items()}
        history.probes = {n: _known(ProbeFacts, f) for n, f in data.get("probes", {}).items()}
        history.evaluations = {n: _known(EvaluationFacts, f) for n, f in data.get("evaluations", {}).items()}
        history.leaves = {n: _known(LeafFacts, f) for n, f in data.get("leaves", {}).items()}
        for leaf in history.leaves.values():
            leaf.shape = tuple(leaf.shape)
        history.symmetric = {n: _known(SymmetryFacts, f) for n, f in data.get("symmetric", {}).items()}
        history.twins = [_known(TwinFacts, f) for f in data.get("twins", [])]
        history.copies = [_known(CopyFacts, f) for f in data.get("copies", [])]
        history.loads = [_known(LoadFacts, f) for f in data.get("loads", [])]
        history.labels = {n: _known(LabelFacts, f) for n, f in data.get("labels", {}).items()}
        history.objectives = {n: _known(ObjectiveFacts, f) for n, f in data.get("objectives", {}).items()}
        for objective in history.objectives.values():
            objective.options, objective.operations = tuple(objective.options), tuple(objective.operations)
            objective.input_shape, objective.target_shape = tuple(objective.input_shape), tuple(objective.target_shape)
        history.lifetimes = [_known(LifetimeFacts, f) for f in data.get("lifetimes", [])]
        history.schedulers = {n: _known(SchedulerFacts, f) for n, f in data.get("schedulers", {}).items()}
        history.pairs = {n: _known(PairFacts, f) for n, f in data.get("pairs", {}).items()}
        history.evaluated = {n: _known(EvaluationRows, f) for n, f in data.get("evaluated", {}).items()}
        history.targets = {n: _known(TargetFacts, f) for n, f in data.get("targets", {}).items()}
        history.inputs = {n: _known(InputFacts, f) for n, f in data.get("inputs", {}).items()}
        history.neighbours = {n: _known(NeighbourFacts, f) for n, f in data.get("neighbours", {}).items()}
        history.run = _known(RunFacts, data["run"])
        return history


def _new_table(quantity: str) -> Table:
    if quantity not in QUANTITIES:
        raise HistoryError(f"unknown quantity {quantity!r}; history.py lists them")
    return Table(ROWS.get(quantity, DETAIL_ROWS), averaged=quantity in _AVERAGED)


def _finite_or_inf(value: float) -> float:
    return value if value - value == 0.0 else float("inf")


def _known(cls: type[Any], data: Mapping[str, Any]) -> Any:
    names = {f.name for f in fields(cls)}
    return cls(**{key: value for key, value in data.items() if key in names})
