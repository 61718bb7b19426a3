"""The list of all checks, and all of them on one model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import nn

from diagnose.checks._batch_independence import batch_independence
from diagnose.checks._causality import causality
from diagnose.checks._descent import descent
from diagnose.checks._determinism import determinism
from diagnose.checks._device_and_dtype_transfer import device_and_dtype_transfer
from diagnose.checks._fit_tiny import fit_tiny
from diagnose.checks._gradient_flow import gradient_flow
from diagnose.checks._gradients import gradients
from diagnose.checks._guarantees import guarantees
from diagnose.checks._input_sensitivity import input_sensitivity
from diagnose.checks._loss_at_init import loss_at_init
from diagnose.checks._lr_range import lr_range_test
from diagnose.checks._rehearsal import Inputs, LossFn, Rehearsal
from diagnose.checks._result import CheckResult
from diagnose.checks._save_load import save_load
from diagnose.checks._train_eval_consistency import train_eval_consistency
from diagnose.errors import CheckError

Function = Callable[..., CheckResult]


@dataclass(frozen=True)
class Check:
    """A check, as it is listed.

    Attributes:
        function: `function(model, inputs, targets, loss_fn=..., seed=...)`; those that need no loss take no `loss_fn`.
        question: that it answers, in a line.
        options: that it is given where it is one of many.
    """

    function: Function
    question: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """In kebab-case, as its results are called."""
        return self.function.__name__.replace("_", "-")

    @property
    def takes_loss(self) -> bool:
        return "loss_fn" in inspect.signature(self.function).parameters


# In the order of a search: what is cheap and explains the rest comes first. `baseline` is none of them: it needs data
# to train and to test on, not a batch.
ALL: Final = (
    Check(loss_at_init, "does the loss begin where that of a model that knows nothing lies?"),
    Check(input_sensitivity, "does every input matter, and do outputs differ?"),
    Check(batch_independence, "do examples of a batch leave each other alone?"),
    # Whether a model has to be causal is the caller's to say; without that, only a look at its own target is a fault.
    Check(causality, "is the future hidden from a model of sequences?", {"required": None}),
    Check(gradient_flow, "does each parameter get a gradient?"),
    Check(gradients, "are the gradients right?"),
    Check(descent, "does a small step along the gradient lower the loss?"),
    Check(determinism, "does the same seed give the same run?"),
    Check(train_eval_consistency, "does the model do the same in training and in evaluation, dropout apart?"),
    Check(save_load, "is what is loaded what was saved, the next step included?"),
    Check(device_and_dtype_transfer, "does it follow to other devices and dtypes?"),
    Check(guarantees, "do softmaxes sum to 1, masks hide, and all numbers stay finite in training?"),
    Check(fit_tiny, "can it learn an example, and eight, by heart?"),
    Check(lr_range_test, "which learning rates are worth trying?"),
)
_WITHOUT_LOSS: Final = (determinism, gradients, save_load)
"""Take a loss where there is one, and do without."""


def run_all(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    told: Callable[[str, int, int], None] | None = None,
) -> tuple[CheckResult, ...]:
    """The results of all checks, in the order of `ALL`; those that have nothing to look at say why.

    Args:
        model, inputs, targets, loss_fn: as for each check. Without a loss (no `loss_fn`, and a model that does not
            return one) those that need it do not apply.
        select: names of those to run, as "fit-tiny"; None runs all.
        ignore: names of those to leave out.
        options: by name of a check, more keyword arguments for it: {"fit-tiny": {"steps": 1000}}.
        seed: of all random numbers.
        told: called with the name of the check that begins, how many are done, and how many there are.

    Raises:
        CheckError: the model or the loss function raises, or the model cannot be copied.
        ValueError: there is no check of such a name.
    """
    chosen = chosen_from(select, ignore)
    if unknown := set(options or {}) - {check.name for check in ALL}:
        raise ValueError(_unknown(sorted(unknown)))
    without_loss = _tried(model, inputs, targets, loss_fn, seed)
    results = []
    for number, check in enumerate(chosen):
        if told is not None:
            told(check.name, number, len(chosen))
        more = {**check.options, **(options or {}).get(check.name, {})}
        if check.takes_loss:
            more["loss_fn"] = loss_fn
        if check.takes_loss and without_loss is not None and check.function not in _WITHOUT_LOSS:
            results.append(CheckResult.not_applicable(check.name, without_loss))
        else:
            results.append(_result(check, model, inputs, targets, {**more, "seed": seed}))
    if told is not None:
        told("", len(chosen), len(chosen))
    return tuple(results)


def chosen_from(select: Iterable[str] | None, ignore: Iterable[str]) -> list[Check]:
    """The checks of these names, in the order of `ALL`.

    Raises:
        ValueError: there is no check of such a name.
    """
    names = {check.name for check in ALL}
    wanted = names if select is None else {name.replace("_", "-") for name in select}
    unwanted = {name.replace("_", "-") for name in ignore}
    if unknown := (wanted | unwanted) - names:
        raise ValueError(_unknown(sorted(unknown)))
    return [check for check in ALL if check.name in wanted - unwanted]


def _unknown(names: list[str]) -> str:
    return f"there is no check {', '.join(map(repr, names))}: there are {', '.join(check.name for check in ALL)}"


def _tried(model: nn.Module, inputs: Inputs, targets: Any, loss_fn: LossFn | None, seed: int) -> str | None:
    """Why there is no loss, None if there is one. What the model raises is raised once, here."""
    with Rehearsal(model, inputs, targets, loss_fn, seed=seed) as rehearsal:
        output = rehearsal.output()
        if loss_fn is not None:
            rehearsal.loss_of(output, rehearsal.batch)
            return None
        try:
            rehearsal.loss_of(output, rehearsal.batch)
        except CheckError:
            return "there is no loss: give a loss_fn, or let the model return one"
    return None


def _result(check: Check, model: nn.Module, inputs: Inputs, targets: Any, options: Mapping[str, Any]) -> CheckResult:
    try:
        return check.function(model, inputs, targets, **options)
    except CheckError as error:
        return CheckResult.not_applicable(check.name, str(error))
    except Exception as error:
        # One check that fails itself must not take the answers of the others with it.
        return CheckResult.not_applicable(check.name, f"the check itself failed: {type(error).__name__}: {error}")
