"""baseline: is a trained model better than a constant, than a linear model, and as good as the default baseline?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from diagnose.baseline import Examples, Task, default_baseline, examples_in
from diagnose.baseline._data import TASKS, kind_of, labels, task_of
from diagnose.baseline._linear import linear_predictions
from diagnose.checks._rehearsal import Rehearsal, as_batch, first_tensor
from diagnose.checks._result import CheckResult
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Severity
from diagnose.isolation import State
from diagnose.stats.paired import Difference, paired_difference

NAME: Final = "baseline"
CODE: Final = "below-baseline"
_IGNORED: Final = -100


def baseline(
    model: nn.Module,
    train: Any,
    test: Any,
    *,
    task: Task | None = None,
    predict: Callable[[Any], Tensor] | None = None,
    default: bool = True,
    margin: float = 0.1,
    confidence: float = 0.95,
    seconds: float = 60.0,
    seed: int = 0,
) -> CheckResult:
    """Whether a trained model beats a constant and a linear model on test data, and reaches the default baseline.

    All are compared with the model on the same test examples, with confidence intervals of the paired differences, by
    two measures: error rate and error rate with all classes weighted alike; squared and absolute error; wrong labels
    and the same with rare values weighted up. A model is worse only if it is so by both: it may have been trained for
    either.

    Args:
        model: as trained; evaluated in evaluation mode, on a copy.
        train: (inputs, targets), a data set or a loader; the other models are fitted to it. Its first 20,000 examples.
        test: the same, not seen in training.
        task: "classification", "regression", "multilabel" or "token-classification"; by default told from the targets.
        predict: turns what the model returns into logits of shape (N, classes) or (N, labels), or values; needed where
            the first tensor in it is none of these.
        default: also train the default baseline, which takes a while.
        margin: relative difference of errors from which a significant one counts.
        confidence: of the intervals.
        seconds: how long the default baseline is trained at most.
        seed: of the models that are fitted.

    Returns:
        A finding below-baseline: `error` if the model is worse than a constant, `warning` if it is no better (and
        there are enough examples to tell), worse than a linear model, or than the default baseline.

    Raises:
        CheckError: the model raises, its outputs do not fit the targets, or the task cannot be told.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", sections 11.2 and 11.4; Karpathy, "A Recipe for Training Neural
        Networks", 2019 ("beat an input-independent baseline"). Intervals: stats/paired.py. A tenth (`margin`) is
        judgement: less is not worth a search.
    """
    with State((), seed=seed):  # data sets may draw random numbers too
        known, unseen = examples_in(train), examples_in(test)
    inputs = known.inputs
    if task is not None and task not in TASKS:
        raise ValueError(f"task is {task!r}, and has to be one of {', '.join(TASKS)}")
    kind = kind_of(inputs) if inputs is not None and inputs.dim() <= 4 else None
    task = task or task_of(known.targets, inputs, kind)
    outputs = _outputs(model, unseen, predict, seed)
    measures = _Measures(task, known.targets, unseen.targets)
    if measures.constant_is_perfect:
        return CheckResult.not_applicable(NAME, "the test targets are all alike: a constant makes no mistake")
    mine = measures.of(outputs)
    findings, evidence = [], _evidence(measures, mine, len(unseen))
    rivals = _rivals(known, unseen, task, kind, default, seconds, seed, evidence)
    for name, predicted in ((None, None), *rivals.items()):
        theirs = measures.of_constant() if predicted is None else measures.of(predicted)
        differences = {
            key: paired_difference(theirs[key], mine[key], confidence=confidence, bounded=measures.bounded)
            for key in mine
        }
        label = name or "constant"
        evidence[f"{label}_error"] = _mean(theirs[measures.main])
        shown = differences[measures.main]
        evidence[f"{label}_minus_model"] = [shown.mean, shown.low, shown.high]
        found = (
            _against_constant(differences, theirs, margin, measures, mine)
            if name is None
            else _against(name, differences, theirs, margin, measures, mine)
        )
        findings += [found] if found is not None else []
    findings.sort(key=lambda finding: finding.severity.rank)
    words = ", ".join(f"{name} {_mean(measures.of(value)[measures.main]):.3g}" for name, value in rivals.items())
    constant = _mean(measures.of_constant()[measures.main])
    summary = f"{measures.main} {_mean(mine[measures.main]):.3g} on {len(unseen)} examples; constant {constant:.3g}" + (
        f", {words}" if words else ""
    )
    return CheckResult(NAME, summary, tuple(findings), evidence)


def _rivals(
    known: Examples,
    unseen: Examples,
    task: Task,
    kind: Any,
    default: bool,
    seconds: float,
    seed: int,
    evidence: dict[str, Evidence],
) -> dict[str, Tensor]:
    """What the other models put out for the test data, by name; why there is none stands in the evidence."""
    inputs, others = known.inputs, unseen.inputs
    found: dict[str, Tensor] = {}
    if inputs is None or others is None or kind is None or others.shape[1:] != inputs.shape[1:]:
        evidence["not_compared"] = "linear and default: the inputs are not one tensor of one shape"
        return found
    linear = linear_predictions((inputs, known.targets), others, task, kind, seed=seed)
    if linear is not None:
        found["linear"] = linear
    if default:
        try:
            rival = default_baseline((inputs, known.targets), task, kind=kind, seed=seed)
        except CheckError as reason:
            evidence["not_compared"] = f"default: {reason}"
            return found
        fit = rival.fit((inputs, known.targets), seconds=seconds)
        evidence["default_baseline"] = rival.description
        evidence["default_epochs"] = len(fit.train_losses)
        found["default"] = rival.predict(others)
    return found


def _outputs(model: nn.Module, unseen: Examples, predict: Callable[[Any], Tensor] | None, seed: int) -> Tensor:
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    parts = []
    with Rehearsal(model, unseen.batches[0][0], seed=seed) as rehearsal, torch.no_grad():
        rehearsal.model.eval()
        for inputs, targets in unseen.batches:
            output = rehearsal.output(as_batch(inputs).map(lambda tensor: tensor.to(device)))
            found = predict(output) if predict is not None else first_tensor(output)
            if found is None or not found.dim() or len(found) != len(targets):
                shape = None if found is None else tuple(found.shape)
                raise CheckError(f"The output ({shape}) has no row for each of {len(targets)} examples: give predict.")
            parts.append(found.detach().float().cpu())
    return torch.cat(parts)


class _Measures:
    """Errors of each test example, by two measures.

    Attributes:
        main: the name of the first.
        bounded: whether it is 0 or 1 for an example.
    """

    def __init__(self, task: Task, known: Tensor, unseen: Tensor) -> None:
        self.task, self.known, self.wanted = task, labels(known, task), labels(unseen, task)
        self.main = {"regression": "squared error", "multilabel": "share of wrong labels"}.get(task, "error rate")
        self.bounded = task == "classification"
        self._scale = 1.0
        if task == "regression":
            self.known, self.wanted = (x.reshape(len(x), -1) for x in (self.known, self.wanted))
            deviation = self.known.std(0, correction=0)
            self._scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))  # type: ignore[assignment]

    @property
    def constant_is_perfect(self) -> bool:
        return not any(bool(errors.any()) for errors in self.of_constant().values())

    def of(self, outputs: Tensor) -> dict[str, Tensor]:
        """Of what a model has put out, shape (N,) by name.

        Raises:
            CheckError: it does not fit the targets.
        """
        if self.task == "regression":
            if outputs.numel() != self.wanted.numel():
                raise CheckError(_misfit(outputs, self.wanted))
            return self._distances(outputs.reshape(self.wanted.shape))
        if self.task == "multilabel":
            if outputs.shape != self.wanted.shape:
                raise CheckError(_misfit(outputs, self.wanted))
            return self._mistakes(_positive(outputs).float())
        return self._mistakes(_decided(outputs, self.wanted))

    def of_constant(self) -> dict[str, Tensor]:
        """Of the best constant by the training data, for each measure."""
        if self.task == "regression":
            mean = self._distances(self.known.mean(0).expand_as(self.wanted))
            median = self._distances(self.known.median(0).values.expand_as(self.wanted))
            first, second = mean
            return {first: mean[first], second: median[second]}
        if self.task == "multilabel":
            return self._mistakes((self.known.mean(0) > 0.5).float().expand_as(self.wanted))
        used = self.known[self.known != _IGNORED]
        return self._mistakes(used.mode().values.expand_as(self.wanted))

    def _distances(self, predicted: Tensor) -> dict[str, Tensor]:
        error = (predicted - self.wanted) / self._scale
        return {"squared error": error.pow(2).mean(1), "absolute error": error.abs().mean(1)}

    def _mistakes(self, predicted: Tensor) -> dict[str, Tensor]:
        wrong = (predicted != self.wanted).float().reshape(len(self.wanted), -1)
        used = (self.wanted != _IGNORED).float().reshape(len(self.wanted), -1)
        weights = self._weights().reshape(len(self.wanted), -1) * used
        size = used.sum(1).clamp_min(1)
        return {self.main: (wrong * used).sum(1) / size, "balanced " + self.main: (wrong * weights).sum(1) / size}

    def _weights(self) -> Tensor:
        """So that every class, or both values of a label, weigh alike in the test data; 1 on average."""
        if self.task == "multilabel":
            share = self.wanted.mean(0, keepdim=True)
            of_own = torch.where(self.wanted > 0.5, share, 1 - share)
            return 0.5 / of_own
        classes, index, counts = self.wanted.unique(return_inverse=True, return_counts=True)
        is_used = classes != _IGNORED
        weights = counts[is_used].sum() / (is_used.sum() * counts)
        return torch.where(is_used, weights, torch.zeros_like(weights))[index]


def _decided(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Class numbers from logits or probabilities with classes in dimension 1 or last, or from one number each."""
    if outputs.dim() == wanted.dim() + 1:
        for dim in (1, outputs.dim() - 1):
            if outputs.movedim(dim, -1).shape[:-1] == wanted.shape:
                if outputs.shape[dim] == 1:
                    return _positive(outputs.squeeze(dim)).long()
                return outputs.argmax(dim)
    if outputs.shape == wanted.shape:
        if bool((outputs == outputs.round()).all()) and bool((outputs >= 0).all()):
            return outputs.long()
        if bool(((wanted == 0) | (wanted == 1) | (wanted == _IGNORED)).all()):
            return _positive(outputs).long()
    raise CheckError(_misfit(outputs, wanted))


def _positive(outputs: Tensor) -> Tensor:
    """Which are more likely than not: above 0 for logits, above a half for what can only be probabilities."""
    are_probabilities = bool(((outputs >= 0) & (outputs <= 1)).all())
    return outputs > (0.5 if are_probabilities else 0.0)


def _misfit(outputs: Tensor, wanted: Tensor) -> str:
    return (
        f"Outputs of shape {tuple(outputs.shape)} do not fit targets of shape {tuple(wanted.shape)}: give task, or "
        "predict, which turns what the model returns into logits or values."
    )


# ---------------------------------------------------------------------- verdicts


def _against_constant(
    differences: Mapping[str, Difference],
    theirs: Mapping[str, Tensor],
    margin: float,
    measures: _Measures,
    mine: Mapping[str, Tensor],
) -> Finding | None:
    if any(difference.low > 0 for difference in differences.values()):
        return None
    evidence = _compared(differences, theirs, mine)
    shown = f"{measures.main} {_mean(mine[measures.main]):.3g}, and {_mean(theirs[measures.main]):.3g} by a constant"
    cause = "The model has learned nothing that holds for new examples: inputs and targets do not belong together, the "
    cause += "inputs are scaled or ordered otherwise than in training, weights were not loaded, or it is overfitted."
    remedy = "Evaluate it on the training data: if it fails there too, look at training (fit-tiny), else at the data."
    if all(difference.high < 0 for difference in differences.values()):
        message = f"the model is worse than predicting the same for every input: {shown}"
        return Finding(CODE, Severity.ERROR, message, evidence=evidence, cause=cause, remedy=remedy)
    if all(d.high < margin * _mean(theirs[key]) for key, d in differences.items()):
        message = f"the model is no better than predicting the same for every input: {shown}"
        return Finding(CODE, Severity.WARNING, message, evidence=evidence, cause=cause, remedy=remedy)
    return Finding(
        CODE,
        Severity.INFO,
        f"{len(mine[measures.main])} test examples are too few to tell the model from a constant: {shown}",
        evidence=evidence,
        cause="The interval of the difference is wide.",
        remedy="Evaluate on more examples.",
    )


def _against(
    name: str,
    differences: Mapping[str, Difference],
    theirs: Mapping[str, Tensor],
    margin: float,
    measures: _Measures,
    mine: Mapping[str, Tensor],
) -> Finding | None:
    is_worse = all(d.high < 0 and -d.mean > margin * _mean(theirs[key]) for key, d in differences.items())
    if not is_worse:
        return None
    rival = "a linear model" if name == "linear" else "the default baseline"
    shown = differences[measures.main]
    return Finding(
        CODE,
        Severity.WARNING,
        f"{rival} is better on the test data: {measures.main} {_mean(theirs[measures.main]):.3g}, and "
        f"{_mean(mine[measures.main]):.3g} by the model (difference {-shown.high:.2g} to {-shown.low:.2g})",
        evidence=_compared(differences, theirs, mine),
        cause="The model is trained too briefly, with a wrong learning rate, or is overfitted; or inputs are not "
        "standardised.",
        remedy="Begin with diagnose.default_baseline, and change one thing at a time."
        if name == "default"
        else "Standardise the inputs; lower or raise the learning rate; regularise.",
    )


def _compared(
    differences: Mapping[str, Difference], theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor]
) -> dict[str, Evidence]:
    evidence: dict[str, Evidence] = {}
    for key, difference in differences.items():
        evidence[f"{key} of the model"] = _mean(mine[key])
        evidence[f"{key} of the other"] = _mean(theirs[key])
        evidence[f"{key}, other minus model"] = [difference.mean, difference.low, difference.high]
    return evidence


def _evidence(measures: _Measures, mine: Mapping[str, Tensor], count: int) -> dict[str, Evidence]:
    return {"task": measures.task, "measure": measures.main, "examples": count, "error": _mean(mine[measures.main])}


def _mean(errors: Tensor) -> float:
    return float(errors.double().mean())
