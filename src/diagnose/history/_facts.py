"""What is known of the parts of a run, each once: parameters, layers, losses, models, data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass
class EvaluationRows:
    """The rows that one place of the program evaluates a model on, against those that the model was trained on.

    Attributes:
        model, optimizer: the model, and the optimizer that trained it.
        file, line: the user's line that calls the model.
        phases: evaluation phases that were looked at.
        rows, distinct, equal_pairs: rows of the latest phase; different ones; pairs of equal ones.
        discrete: whether the values are whole numbers, so that equal rows may be so by chance.
        fine: whether the values are so fine that different rows differ in each of several columns, so that no equal
            ones are so by chance.
        seen: different rows that training had had too by then, on the sampled steps.
        trained, trained_met: different rows of the sampled training steps; those that were evaluated too.
        coverage: share of the rows of the latest training batches that earlier sampled steps had had: an estimate
            of the share of all training rows that is known. 0 within the first epoch.
        repeated: share of the rows of later phases that had been met before; 1 if there was one phase.
        beside: training steps right before which this place was given the same rows.
        batches: of each call of the latest phase, its rows and those that training had too.
        one_loader: whether all batches of the latest phase came from one pass over one DataLoader: one data set.
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
    fine: bool = False
    seen: int = 0
    trained: int = 0
    trained_met: int = 0
    coverage: float = 0.0
    repeated: float = 1.0
    beside: int = 0
    batches: list[tuple[int, int]] = field(default_factory=list)
    one_loader: bool = False
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
        began, ended: its first and its latest sampled step, counted over all optimizers of the run, from 1; 0 if
            none was sampled. They tell optimizers that take turns from those that were used one after the other.
    """

    type: str
    steps: int = 0
    followed: int = 0
    closures: int = 0
    backwards: int = 0
    clipped: int = 0
    file: str | None = None
    line: int | None = None
    began: int = 0
    ended: int = 0


@dataclass
class LossFacts:
    """What is known about one loss stream: the optimizer it feeds and the line that calls backward."""

    optimizer: str
    file: str | None = None
    line: int | None = None
    grad_fn: str = ""


Container = Literal["list", "dict", "object", "tensor", ""]


@dataclass
class HandmadeFacts:
    """Steps that no optimizer of torch's has made; see collect/handmade.py.

    Attributes:
        steps: backward passes before which parameters had changed since the last one.
        stale: those before which the gradients that the last one left were still there, at the second time in a row.
        file, line: the user's line that calls backward.
    """

    steps: int = 0
    stale: int = 0
    file: str | None = None
    line: int | None = None


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
        idle: whether the state was the module's own memory, and nothing was written since it was taken.
        renamed: names in the state that the module lacks, and those of its own that come in their place, in the same
            order and of the same shapes: the first pair.
        renamed_weights, renamed_share: how many such pairs are matrices or larger; their share of the state's elements.
        inner: whether what fits comes after what is renamed, so that it is no new head.
        lost: buffers that are not in the state and were evaluated as they were before the load, although the model
            that the state was taken from had changed them, or although they are running statistics of no batch.
        part_evaluated: whether the module was evaluated with parameters that neither the load nor any training
            had set, though the state had entries to spare.
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
    idle: bool = False
    renamed: tuple[str, ...] = ()
    renamed_weights: int = 0
    renamed_share: float = 0.0
    inner: bool = False
    lost: tuple[str, ...] = ()
    part_evaluated: bool = False
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
class PairingFacts:
    """Whether a loss is lower with each example's own target than with another's; see collect/counterfactuals.py.

    It is asked only while the loss has not fallen, of sampled steps; what is kept is of the latest batches.

    Attributes:
        optimizer: whose steps these were.
        loss_function: its name; "difference" where the mean square of a difference stands for a loss written by hand.
        file, line: the user's line that calls it.
        reason: why it was not asked; "" if it was.
        first_step, last_step: between which the batches were met.
        batches: how many are kept.
        examples: of one batch.
        loss, shuffled: its means over the batches, with their own targets and with permuted ones.
        sigmas: how far the loss lies below the shuffled one, in standard deviations of what permutations do to it.
    """

    optimizer: str = ""
    loss_function: str = ""
    file: str | None = None
    line: int | None = None
    reason: str = ""
    first_step: int = 0
    last_step: int = 0
    batches: int = 0
    examples: int = 0
    loss: float = 0.0
    shuffled: float = 0.0
    sigmas: float = 0.0


@dataclass
class FitFacts:
    """Whether copies of a model's weights can fit a few examples of one batch; see collect/counterfactuals.py.

    Attributes:
        model: qualified name of the module, or its class name.
        optimizer: the one that steps next.
        reason: why it was not tried; "" if it was.
        step: the step after which it was tried, the latest time.
        examples: how many examples there were to be fitted.
        repeated: those of them whose inputs are equal to those of another one.
        steps: steps of Adam that were made with the copies.
        before: the loss of these examples.
        constant: the loss of the best answer that is the same for all of them; inf if not known.
        after: the lowest loss that was reached.
    """

    model: str = ""
    optimizer: str = ""
    reason: str = ""
    step: int = 0
    examples: int = 0
    repeated: int = 0
    steps: int = 0
    before: float = 0.0
    constant: float = 0.0
    after: float = 0.0


@dataclass
class ConstantInputFacts:
    """How far outputs move when every example of a batch is given the same input; see collect/counterfactuals.py.

    Attributes:
        model, optimizer, reason, step: as in FitFacts.
        examples: of the batch.
        spread: how far the outputs of different examples are apart, in units of the size of the outputs (both are
            root mean squares).
        change: how far they move, in the same units, at most, when the inputs are their mean, zero, or 10 times
            what they are (numbers of classes and tokens: those of the first example for all).
        affine: whether outputs are the inputs times a matrix, plus a constant: those of the mean input are the mean of
            the outputs, and those of inputs 10 times as large lie 10 times as far from those of zero.
    """

    model: str = ""
    optimizer: str = ""
    reason: str = ""
    step: int = 0
    examples: int = 0
    spread: float = 0.0
    change: float = 0.0
    affine: bool = False


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
class SamplerFacts:
    """What is known about one WeightedRandomSampler.

    Attributes:
        file, line: the user's line that makes it.
        examples: how many it has weights for.
        passes: how many times drawing from it was begun.
    """

    file: str | None = None
    line: int | None = None
    examples: int = 0
    passes: int = 0


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
    """A model of the shapes of a trained one that no optimizer holds, as it was when it was called without gradients.

    Attributes:
        model, type: its name (or class name) and its class name.
        looks_in_training, looks_in_evaluation: how often it was called, by the mode of the trained model then.
        moved: how often its parameters differed from what they were at the look before.
        follows: whether they were ever seen on the way that the trained model has gone.
        is_start: whether they were, at the last look, what the trained model's were before its first step.
        source_moved: whether the trained model's parameters no longer were.
        scaled: how often all of its parameters were seen to be multiplied by a number, or blended with something,
            out of place, each time a few steps after the last.
        statistics: how many running means and variances of normalisations were compared.
        statistics_moved, source_statistics_moved: as `moved`, for those of the copy and of the trained model.
        statistics_are_new: whether those of the copy, and not those of the model, had seen no batch at the last look.
        statistics_are_models: whether those of the copy were those of the model at the last look, in memory of their
            own, and not those that the model had before its first step.
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
    scaled: int = 0
    statistics: int = 0
    statistics_moved: int = 0
    source_statistics_moved: int = 0
    statistics_are_new: bool = False
    statistics_are_models: bool = False
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
        loss: the loss function that was given them, with its default options.
        variance: of the targets, each column by itself, as an average; what mse_loss gives for their mean.
        count: values read.
    """

    optimizer: str = ""
    loss: str = "mse_loss"
    variance: float = 0.0
    count: int = 0

    @property
    def constant(self) -> float:
        """The loss of the best constant answer; for all but the squared error no more than this (Jensen)."""
        deviation = math.sqrt(self.variance)
        if self.loss == "mse_loss":
            return self.variance
        return deviation if self.loss == "l1_loss" else min(deviation, self.variance / 2)


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
class AccuracyFacts:
    """How often a model was right in evaluation, where a line compares its answers with labels; its best phase.

    Attributes:
        phases: evaluation phases that were looked at.
        examples, right, by_chance, sigmas: as stats.neighbours.Agreement.
        renamed: as stats.neighbours.right_when_renamed; 0 if that cannot tell.
        course: `sigmas` of the phases in order: of the first ones, and of the last.
    """

    phases: int = 0
    examples: int = 0
    right: float = 0.0
    by_chance: float = 0.0
    sigmas: float = 0.0
    renamed: float = 0.0
    course: list[float] = field(default_factory=list)


@dataclass
class NeighbourFacts:
    """Whether examples that are near to one another have the same label; see collect/neighbours.py.

    Attributes:
        optimizer: whose steps these were.
        file, line: the user's line that calls the loss.
        rows: examples compared; 0 if there were none to compare.
        classes: different labels among them.
        agree, by_chance, sigmas: as stats.neighbours.Agreement.
        nearness: as stats.neighbours.nearness: about 1 if the inputs have no structure of their own, 1 if unknown.
        fitted_agree, fitted_sigmas: how often a simple fit says the label, as stats.neighbours.fitted_agreement.
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
    nearness: float = 1.0
    fitted_agree: float = 0.0
    fitted_sigmas: float = 0.0
    moved: str = ""
    moved_agree: float = 0.0
    moved_sigmas: float = 0.0


@dataclass
class DissentFacts:
    """How labels dissent from what both near examples and the network expect; see collect/dissent.py.

    Attributes:
        optimizer: whose steps these were.
        file, line: the user's line that calls the loss.
        first_step, last_step: steps in which the rows were met that are judged; see stats.dissent.Times.
        classes: different labels.
        agreement: how far network and neighbours agreed beyond chance, when they agreed most: Cohen's kappa.
        rows, dissent, sure, sure_dissent, rank, rank_error, second: as stats.dissent.Dissent, of different rows about
            which they agreed.
        regions: for each expected class, its rows, how many of them dissent, the label that most of these
            have (-1 if none does), and how many have it.
    """

    optimizer: str = ""
    file: str | None = None
    line: int | None = None
    first_step: int = 0
    last_step: int = 0
    classes: int = 0
    agreement: float = 0.0
    rows: int = 0
    dissent: int = 0
    sure: int = 0
    sure_dissent: int = 0
    rank: float = 0.5
    rank_error: float = 0.0
    second: float = 0.0
    regions: list[tuple[int, int, int, int, int]] = field(default_factory=list)


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
