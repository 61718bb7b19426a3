"""Assertions about models and their training. Each raises CheckFailedError, an AssertionError, that says what to do.

Some look at a training: their first argument is

    a function            that trains; it is stopped after `steps` optimizer steps
    a function            that makes one step; it is called again until there are `steps`
    a generator           that makes a step whenever it is advanced
    a module              and a batch, with a loss_fn: a copy is trained on that batch with Adam, or with
                          `optimizer=lambda parameters: ...`

and `model=` names what a function trains, if it is not to be found by itself. The others look at a model and a batch
as the checks of `diagnose.checks` do, on copies: inputs are a tensor, a sequence of positional arguments, or a mapping
of keyword arguments; `loss_fn` is given the output and the targets, or the model returns its loss.

`[tool.diagnose]` counts: its thresholds for all of them, its `ignore` and `suppress` for `assert_trains`. Under
DIAGNOSE=0 nothing is watched; training runs, and what it would have shown is not asserted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn

from diagnose import checks
from diagnose.checks import CheckResult, Status
from diagnose.checks._rehearsal import Inputs, LossFn
from diagnose.errors import CheckError
from diagnose.findings import Finding, Severity
from diagnose.gradcheck import GradientReport, check_gradients
from diagnose.testing._outputs import Shape, named_outputs, output_faults, output_of
from diagnose.testing._training import OptimizerFactory, Train, Trained, no_step, nothing_seen, trained
from diagnose.testing._units import judged_units
from diagnose.testing._updates import (
    changes,
    copied,
    frozen_copy,
    frozen_verdict,
    held_tensors,
    matches,
    moves_wrongly,
    unmoved_findings,
    update_ratios,
)
from diagnose.testing._verdict import FailOn, Verdict, at_or_above, concluded, counted, headline
from diagnose.watching import Watch

Models: TypeAlias = "nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module] | None"

STEPS: Final = 100
"""Rules judge runs of about a hundred steps; `loss-not-decreasing` and its like say nothing about much shorter ones."""

FEW_STEPS: Final = 20
"""Enough for what shows at once; dead and saturated units need windows of 64 examples, twice."""


# ---------------------------------------------------------------------- training


def assert_trains(
    train: Train,
    inputs: Inputs | None = None,
    targets: Any = None,
    *,
    steps: int = STEPS,
    fail_on: FailOn = "warning",
    ignore: Sequence[str] = (),
    select: Sequence[str] = (),
    model: Models = None,
    loss_fn: LossFn | None = None,
    optimizer: OptimizerFactory | None = None,
    seed: int = 0,
) -> Watch:
    """The watch that has seen the training, if it found nothing as severe as `fail_on`.

    Args:
        train, inputs, targets, model, loss_fn, optimizer: see the head of this module.
        steps: optimizer steps after which the training is stopped.
        fail_on: "error", "warning" or "info".
        ignore: codes of findings that do not count.
        select: codes of those that count alone; empty for all.
        seed: of a module's own training; a function draws its own random numbers.

    Raises:
        CheckFailedError: there are such findings, or no optimizer step was made.
        CheckError: `train` cannot be run.
        ConfigError: an unknown code.
    """
    __tracebackhide__ = True
    _one_of("fail_on", fail_on, ("error", "warning", "info"))

    def look() -> Verdict[Watch]:
        run = trained(
            train, inputs, targets, steps=steps, ignore=ignore, select=select,
            model=model, loss_fn=loss_fn, optimizer=optimizer, seed=seed,
        )  # fmt: skip
        findings = at_or_above(run.diagnosis.findings, fail_on)
        if not run.steps and run.watched:
            findings = (no_step(), *findings)
        summary = f"{headline(findings, fail_on) if findings else 'no findings'} in {run.what}"
        return Verdict(run.watch, summary, findings, bool(findings), run.report)

    return concluded("assert_trains", look)


def assert_no_dead_units(
    train: Train,
    inputs: Inputs | None = None,
    targets: Any = None,
    *,
    steps: int = FEW_STEPS,
    at_most: float | None = None,
    model: Models = None,
    loss_fn: LossFn | None = None,
    optimizer: OptimizerFactory | None = None,
    seed: int = 0,
) -> Watch:
    """The watch that has seen the training, if the units of its ReLUs are alive at the end.

    Args:
        train, inputs, targets, model, loss_fn, optimizer, seed: see the head of this module.
        steps: optimizer steps after which the training is stopped.
        at_most: share of dead units that a layer may have. None: what the rule `dead-units` takes for a fault, that
            is more than chance explains.

    Raises:
        CheckFailedError: a layer has more; or no unit was seen for 64 examples, so that nothing can be said.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Watch]:
        run = _trained_on(train, inputs, targets, steps, model, loss_fn, optimizer, seed)
        return judged_units(run, "dead-units", "dead", at_most)

    return concluded("assert_no_dead_units", look)


def assert_no_saturation(
    train: Train,
    inputs: Inputs | None = None,
    targets: Any = None,
    *,
    steps: int = FEW_STEPS,
    at_most: float | None = None,
    model: Models = None,
    loss_fn: LossFn | None = None,
    optimizer: OptimizerFactory | None = None,
    seed: int = 0,
) -> Watch:
    """The watch that has seen the training, if the units of its tanhs and sigmoids are not saturated at the end.

    Args:
        train, inputs, targets, model, loss_fn, optimizer, seed: see the head of this module.
        steps: optimizer steps after which the training is stopped.
        at_most: share of saturated units that a layer may have. None: what the rule `saturated-units` takes for a
            fault, that is 50 %.

    Raises:
        CheckFailedError: a hidden layer has more; or no unit was seen for 64 examples, so that nothing can be said.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Watch]:
        run = _trained_on(train, inputs, targets, steps, model, loss_fn, optimizer, seed)
        return judged_units(run, "saturated-units", "saturated", at_most)

    return concluded("assert_no_saturation", look)


def assert_all_parameters_update(
    train: Train,
    inputs: Inputs | None = None,
    targets: Any = None,
    *,
    steps: int = FEW_STEPS,
    ignore: Sequence[str] = (),
    model: Models = None,
    loss_fn: LossFn | None = None,
    optimizer: OptimizerFactory | None = None,
    seed: int = 0,
) -> Watch:
    """The watch that has seen the training, if each parameter that requires a gradient has changed, bit for bit.

    Stricter than the rule `parameter-not-updated`: it also counts parameters of modules that never ran.

    Args:
        train, inputs, targets, model, loss_fn, optimizer, seed: see the head of this module.
        steps: optimizer steps after which the training is stopped.
        ignore: names or patterns ("head.*") of parameters that need not change.

    Raises:
        CheckFailedError: some are what they were; or no parameter was seen.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Watch]:
        run = _trained_on(train, inputs, targets, steps, model, loss_fn, optimizer, seed)
        wanted = {
            name: facts
            for name, facts in run.history.parameters.items()
            if facts.requires_grad and facts.size and not matches(name, ignore)
        }
        unmoved = {name: facts for name, facts in wanted.items() if facts.changed is False}
        if run.watched and not wanted:
            return nothing_seen(run, "parameter that requires a gradient")
        summary = f"{len(unmoved)} of {len(wanted)} parameters did not change in {run.what}"
        return Verdict(run.watch, summary, tuple(unmoved_findings(unmoved, run)), bool(unmoved), run.report)

    return concluded("assert_all_parameters_update", look)


def assert_frozen(
    train: Train,
    inputs: Inputs | None = None,
    targets: Any = None,
    *,
    frozen: nn.Module | str | Sequence[str] | None = None,
    buffers: bool = True,
    steps: int = FEW_STEPS,
    model: nn.Module | None = None,
    loss_fn: LossFn | None = None,
    optimizer: OptimizerFactory | None = None,
    seed: int = 0,
) -> Watch:
    """The watch that has seen the training, if what is to be frozen is what it was, bit for bit.

    Args:
        train, inputs, targets, loss_fn, optimizer, seed: see the head of this module.
        frozen: a module, or names or patterns of parameters and buffers ("encoder.*"). None: all parameters of the
            model that require no gradient, and the buffers of the modules that have only such ones.
        buffers: whether buffers count, as the running statistics of a batch normalisation, which move in training mode
            although no parameter does.
        steps: optimizer steps after which the training is stopped.
        model: that a function trains; needed unless `train` or `frozen` is a module.

    Raises:
        CheckFailedError: something has changed.
        CheckError: nothing is frozen, or a pattern matches nothing.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Watch]:
        if isinstance(train, nn.Module):
            # A copy is trained, so that is what has to be looked at: the loop of `trained` is run by hand.
            return frozen_copy(train, inputs, targets, frozen, buffers, steps, loss_fn, optimizer, seed)
        owner = frozen if isinstance(frozen, nn.Module) else model
        if owner is None:
            raise CheckError("assert_frozen needs the model that the function trains: give model=...")
        held = held_tensors(owner, frozen, buffers)
        before = copied(held)
        run = trained(train, steps=steps, model=model)
        return frozen_verdict(run, before, changes(before, held_tensors(owner, frozen, buffers)), held)

    return concluded("assert_frozen", look)


def assert_update_ratio_between(
    train: Train,
    low: float = 1e-5,
    high: float = 1e-1,
    *,
    inputs: Inputs | None = None,
    targets: Any = None,
    steps: int = FEW_STEPS,
    ignore: Sequence[str] = (),
    model: Models = None,
    loss_fn: LossFn | None = None,
    optimizer: OptimizerFactory | None = None,
    seed: int = 0,
) -> Watch:
    """The watch that has seen the training, if each weight moves by a reasonable share of itself per step.

    The ratio is rms(update) / rms(parameter), its median over the second half of the steps. Weights are parameters of
    two or more dimensions; biases and scales that begin at 0 or 1 say little about the learning rate.

    Args:
        low, high: bounds of the ratio. By default two orders of magnitude around 1e-3, about which it usually is.
        ignore: names or patterns of parameters that do not count.
        train, inputs, targets, model, loss_fn, optimizer, seed, steps: as for the other assertions.

    Raises:
        CheckFailedError: a weight moves by less or more; or no update was seen.
        ValueError: not 0 <= low < high.

    Source: CS231n course notes, "Ratio of weights:updates"; Goodfellow, Bengio & Courville, *Deep Learning*, sec. 11.5
    (about 1 %).
    """
    __tracebackhide__ = True
    if not 0 <= low < high:
        raise ValueError(f"low={low}, high={high}: 0 <= low < high is needed")

    def look() -> Verdict[Watch]:
        run = _trained_on(train, inputs, targets, steps, model, loss_fn, optimizer, seed)
        ratios = {
            name: ratio
            for name, ratio in update_ratios(run.history).items()
            if len(run.history.parameters[name].shape) > 1 and not matches(name, ignore)
        }
        if run.watched and not ratios:
            return nothing_seen(run, "update of a weight (a parameter of two or more dimensions)")
        outside = {name: ratio for name, ratio in ratios.items() if not low <= ratio <= high}
        summary = f"{len(outside)} of {len(ratios)} weights move by less than {low:g} or more than {high:g} per step"
        findings = tuple(moves_wrongly(run.history, name, ratio, low, high) for name, ratio in outside.items())
        return Verdict(run.watch, summary, findings, bool(outside), run.report)

    return concluded("assert_update_ratio_between", look)


# ---------------------------------------------------------------------- a model and a batch


def assert_gradients_correct(
    target: Callable[..., Any],
    inputs: Tensor | Sequence[Any] | Mapping[str, Any] = (),
    **options: Any,
) -> GradientReport:
    """The report of `diagnose.check_gradients`, if no gradient is wrong or unresolved.

    Args:
        target: a module or a function of tensors.
        inputs: one tensor, a sequence of positional arguments, or a mapping of keyword arguments.
        options: those of `check_gradients`: loss_fn, parameters, mode, second_order, rtol, seed, ...

    Raises:
        CheckFailedError: some gradient is; the message is the report.
        CheckError: `target` raises, or there is nothing to check.
    """
    __tracebackhide__ = True

    def look() -> Verdict[GradientReport]:
        report = check_gradients(target, inputs, progress=False, **options)
        wrong = len(report.wrong)
        summary = f"{wrong} of {len(report.entries)} gradients of {report.subject} wrong or unresolved"
        return Verdict(report, summary, report.findings, not report.ok, table=str(report) if wrong else "")

    return concluded("assert_gradients_correct", look)


def assert_fits_tiny(
    model: nn.Module, inputs: Inputs, targets: Any = None, *, loss_fn: LossFn | None = None, **options: Any
) -> CheckResult:
    """The result of `diagnose.checks.fit_tiny`, if a copy can learn one example by heart, and then a few.

    Args:
        options: those of `fit_tiny`: optimizer, examples, steps, tolerance, seconds, seed.

    Raises:
        CheckFailedError: it cannot, or the check does not apply.
        CheckError: the model or the loss raises.
    """
    __tracebackhide__ = True
    look = _checked(checks.fit_tiny, model, inputs, targets, loss_fn=loss_fn, **options)
    return concluded("assert_fits_tiny", look)


def assert_loss_at_init(
    model: nn.Module, inputs: Inputs, targets: Any = None, *, loss_fn: LossFn | None = None, **options: Any
) -> CheckResult:
    """The result of `diagnose.checks.loss_at_init`, if the first loss is that of a model that knows nothing.

    Args:
        options: those of `loss_at_init`: limit, limit_of_squares, seed.

    Raises:
        CheckFailedError: it is far above, or the check does not apply.
        CheckError: the model or the loss raises.
    """
    __tracebackhide__ = True
    look = _checked(checks.loss_at_init, model, inputs, targets, loss_fn=loss_fn, **options)
    return concluded("assert_loss_at_init", look)


def assert_gradients_flow(
    model: nn.Module, inputs: Inputs, targets: Any = None, *, loss_fn: LossFn | None = None, **options: Any
) -> CheckResult:
    """The result of `diagnose.checks.gradient_flow`, if each parameter gets a gradient, neither lost nor blown up.

    Args:
        options: those of `gradient_flow`: steps, weakest, strongest, seed.

    Raises:
        CheckFailedError: one gets none, or the check does not apply.
        CheckError: the model or the loss raises.
    """
    __tracebackhide__ = True
    look = _checked(checks.gradient_flow, model, inputs, targets, loss_fn=loss_fn, **options)
    return concluded("assert_gradients_flow", look)


def assert_inputs_matter(model: nn.Module, inputs: Inputs, **options: Any) -> CheckResult:
    """The result of `diagnose.checks.input_sensitivity`, if outputs differ, and depend on every input.

    Args:
        options: those of `input_sensitivity`: alike, seed.

    Raises:
        CheckFailedError: outputs are constant or an input is ignored, or the check does not apply.
        CheckError: the model raises.
    """
    __tracebackhide__ = True
    return concluded("assert_inputs_matter", _checked(checks.input_sensitivity, model, inputs, **options))


def assert_batch_independent(model: nn.Module, inputs: Inputs, **options: Any) -> CheckResult:
    """The result of `diagnose.checks.batch_independence`, if no example changes the outputs of another.

    Args:
        options: those of `batch_independence`: batch_dim, examples, share, seed.

    Raises:
        CheckFailedError: one does, or the check does not apply.
        CheckError: the model raises.
    """
    __tracebackhide__ = True
    return concluded("assert_batch_independent", _checked(checks.batch_independence, model, inputs, **options))


def assert_causal(model: nn.Module, inputs: Inputs, **options: Any) -> CheckResult:
    """The result of `diagnose.checks.causality`, if no output of a sequence depends on what comes after it.

    Args:
        options: those of `causality`: time_dim, cuts, required, seed.

    Raises:
        CheckFailedError: one does, or the check does not apply.
        CheckError: the model raises.
    """
    __tracebackhide__ = True
    return concluded("assert_causal", _checked(checks.causality, model, inputs, **options))


def assert_save_load_roundtrip(
    model: nn.Module, inputs: Inputs, targets: Any = None, *, loss_fn: LossFn | None = None, **options: Any
) -> CheckResult:
    """The result of `diagnose.checks.save_load`, if a reloaded model has the same outputs and the same next step.

    Args:
        options: those of `save_load`: optimizer, make_model, steps, seed.

    Raises:
        CheckFailedError: it has not, or the check does not apply.
        CheckError: the model or the loss raises.
    """
    __tracebackhide__ = True
    look = _checked(checks.save_load, model, inputs, targets, loss_fn=loss_fn, **options)
    return concluded("assert_save_load_roundtrip", look)


def assert_deterministic(
    model: nn.Module, inputs: Inputs, targets: Any = None, *, loss_fn: LossFn | None = None, **options: Any
) -> CheckResult:
    """The result of `diagnose.checks.determinism`, if two runs with the same seed are the same, bit for bit.

    Args:
        options: those of `determinism`: optimizer, steps, rounding, seed.

    Raises:
        CheckFailedError: they differ, or the check does not apply.
        CheckError: the model or the loss raises.
    """
    __tracebackhide__ = True
    look = _checked(checks.determinism, model, inputs, targets, loss_fn=loss_fn, **options)
    return concluded("assert_deterministic", look)


def assert_descends(
    model: nn.Module, inputs: Inputs, targets: Any = None, *, loss_fn: LossFn | None = None, **options: Any
) -> CheckResult:
    """The result of `diagnose.checks.descent`, if the loss falls along the gradient, and the optimizer keeps its rule.

    Args:
        options: those of `descent`: optimizer, tolerance, steps, step_tolerance, seed.

    Raises:
        CheckFailedError: it does not, or the check does not apply.
        CheckError: the model or the loss raises.
    """
    __tracebackhide__ = True
    look = _checked(checks.descent, model, inputs, targets, loss_fn=loss_fn, **options)
    return concluded("assert_descends", look)


def assert_guarantees(
    model: nn.Module, inputs: Inputs, targets: Any = None, *, loss_fn: LossFn | None = None, **options: Any
) -> CheckResult:
    """The result of `diagnose.checks.guarantees`, if invariants hold at each of some training steps.

    Args:
        options: those of `guarantees`: invariants, steps, optimizer, automatic, seed.

    Raises:
        CheckFailedError: one is broken, or the check does not apply.
        CheckError: the model or the loss raises.
    """
    __tracebackhide__ = True
    look = _checked(checks.guarantees, model, inputs, targets, loss_fn=loss_fn, **options)
    return concluded("assert_guarantees", look)


def assert_train_eval_consistent(model: nn.Module, inputs: Inputs, **options: Any) -> CheckResult:
    """The result of `diagnose.checks.train_eval_consistency`, if both modes compute the same, dropout apart.

    Args:
        options: those of `train_eval_consistency`: limit, max_momentum, seed.

    Raises:
        CheckFailedError: they do not, or the check does not apply.
        CheckError: the model raises.
    """
    __tracebackhide__ = True
    return concluded("assert_train_eval_consistent", _checked(checks.train_eval_consistency, model, inputs, **options))


def assert_transfers(model: nn.Module, inputs: Inputs, **options: Any) -> CheckResult:
    """The result of `diagnose.checks.device_and_dtype_transfer`, if the model runs in other types, on other devices.

    Args:
        options: those of `device_and_dtype_transfer`: dtypes, devices, seed.

    Raises:
        CheckFailedError: it does not, or the check does not apply.
        CheckError: the model raises.
    """
    __tracebackhide__ = True
    return concluded("assert_transfers", _checked(checks.device_and_dtype_transfer, model, inputs, **options))


def assert_beats_baseline(model: nn.Module, train: Any, test: Any, **options: Any) -> CheckResult:
    """The result of `diagnose.checks.baseline`, if a trained model beats a constant and a linear model.

    It also has to reach what the default baseline reaches, unless `default=False`.

    Args:
        train, test: (inputs, targets), a data set or a loader; `test` was not seen in training.
        options: those of `baseline`: task, predict, default, margin, confidence, seconds, seed.

    Raises:
        CheckFailedError: it does not, or the check does not apply.
        CheckError: the model raises, or its outputs do not fit the targets.
    """
    __tracebackhide__ = True
    return concluded("assert_beats_baseline", _checked(checks.baseline, model, train, test, **options))


def assert_output_shape_and_finite(
    model: Callable[..., Any],
    inputs: Inputs,
    shape: Shape | Mapping[str, Shape] | None = None,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> Any:
    """What the model returns for `inputs`, if its shape is as said and all of its values are finite and in range.

    Args:
        model: a module, a copy of which is run in the mode that it is in; or any function of tensors.
        inputs: of the model.
        shape: one entry per dimension: a size, None for any, or a name ("batch") that stands for the same size wherever
            it comes again. A mapping has shapes by name, for outputs with keys or attributes. None for any shape.
        low, high: bounds of the values, both allowed.
        dtype: of the outputs; None for any.
        seed: of the random numbers that the model draws.

    Raises:
        CheckFailedError: it is not.
        CheckError: the model raises, or returns no tensor.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Any]:
        output = output_of(model, inputs, seed)
        outputs = named_outputs(output, shape)
        sizes: dict[str, int] = {}
        findings = [
            finding
            for name, (tensor, wanted) in outputs.items()
            for finding in output_faults(name, tensor, wanted, sizes, low, high, dtype)
        ]
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, (tensor, _) in outputs.items())
        return Verdict(output, f"{counted(findings)} in {shapes}", tuple(findings), bool(findings))

    return concluded("assert_output_shape_and_finite", look)


def _trained_on(
    train: Train,
    inputs: Inputs | None,
    targets: Any,
    steps: int,
    model: Models,
    loss_fn: LossFn | None,
    optimizer: OptimizerFactory | None,
    seed: int,
) -> Trained:
    return trained(
        train, inputs, targets, steps=steps, model=model, loss_fn=loss_fn, optimizer=optimizer, seed=seed
    )  # fmt: skip


def _checked(check: Callable[..., CheckResult], *args: Any, **options: Any) -> Callable[[], Verdict[CheckResult]]:
    """What looks at the result of a check. One that does not apply is a failure: nothing was asserted."""

    def look() -> Verdict[CheckResult]:
        result = check(*args, **options)
        findings = result.findings
        if result.status is Status.NOT_APPLICABLE:
            findings = (
                Finding(
                    "nothing-to-assert",
                    Severity.ERROR,
                    f"{result.name} does not apply: {result.reason}",
                    evidence=result.evidence,
                    cause="The check has nothing to look at in this model or batch.",
                    remedy="Take the assertion away, or give it a batch in which there is something to see.",
                ),
            )
        return Verdict(result, result.summary, findings, result.status is not Status.PASSED)

    return look


def _one_of(name: str, value: str, words: Sequence[str]) -> None:
    if value not in words:
        raise ValueError(f"{name}={value!r}: has to be one of {', '.join(words)}")
