"""check_gradients: puts the parts together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, get_args

from torch import Tensor, nn

from diagnose.errors import CheckError
from diagnose.gradcheck._judge import Judgement, Plan, judge
from diagnose.gradcheck._localise import Mode
from diagnose.gradcheck._narrow import compared_with_wide, same_function
from diagnose.gradcheck._prepare import Prepared, Subject, prepare
from diagnose.gradcheck._problem import SecondOrder
from diagnose.gradcheck._report import Entry, GradientReport
from diagnose.gradcheck._suspect import suspect_of
from diagnose.progress import Progress

MODES: Final = get_args(Mode)


def check_gradients(
    target: Callable[..., Any],
    inputs: Tensor | Sequence[Any] | Mapping[str, Any] = (),
    *,
    loss_fn: Callable[[Any], Any] | None = None,
    parameters: bool | Sequence[str] = True,
    mode: Mode = "auto",
    second_order: bool = False,
    directions: int = 2,
    rtol: float = 1e-4,
    seconds: float = 30.0,
    seed: int = 0,
    progress: bool | None = None,
    rerun: str = "",
) -> GradientReport:
    """A report on whether back-propagated gradients agree with centered differences.

    Everything is done on copies: tensors, gradients, buffers, modes and random states of the caller are as before
    afterwards. What is less than float64 is checked in a float64 copy where that computes the same, and its own
    gradients are compared with that copy's; where there is no such copy, with wide tolerances, and the report says so.

    Args:
        target: a module, or a function of tensors; modules and tensors that a function refers to are its parameters.
        inputs: one tensor, a sequence of positional arguments, or a mapping of keyword arguments. If any tensor
            requires a gradient, only those are checked; else all floating point and complex ones.
        loss_fn: applied to what `target` returns. Without it, each output is differentiated.
        parameters: False leaves them out; a sequence of names or patterns ("encoder.*") chooses some.
        mode: "auto" screens each tensor along random directions and looks at elements where that fails; "screen"
            and "sampled" look at a few of them then; "exhaustive" looks at each element of each tensor.
        second_order: also check gradients of gradients.
        directions: how many random directions per tensor.
        rtol: relative error of one derivative from which it is wrong (in float64).
        seconds: how long single elements may be looked for, once something is wrong.
        seed: of directions and upstream gradients, and of the random numbers that `target` draws.
        progress: show a progress bar on stderr; by default in long checks on a terminal.
        rerun: what the report names as the way to run this again.

    Raises:
        CheckError: `target` raises, nothing it returns requires a gradient, or there is nothing to check.
        ValueError: an argument is out of range.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, and has to be one of {', '.join(MODES)}")
    if directions < 1:
        raise ValueError(f"directions is {directions}, and has to be at least 1")
    if not callable(target):
        raise CheckError(f"A {type(target).__name__} is no module and no function: it cannot be checked.")
    subject = Subject(_eager(target), *_arguments(inputs), loss_fn, parameters)
    with Progress(progress) as bar:
        plan = Plan(mode, directions, seconds, seed, rtol, bar.told)
        report = run_check(subject, plan, second_order=second_order)
    return replace(report, rerun=rerun or _call(subject, plan, second_order))


def run_check(subject: Subject, plan: Plan, *, second_order: bool = False, look_inside: bool = True) -> GradientReport:
    """The report, without a way to run it again.

    Args:
        look_inside: look for the module whose backward is wrong.
    """
    began = time.monotonic()
    notes: list[str] = []
    given = prepare(subject, widen=False, seed=plan.seed)
    wide = None if given.exact else _widened(subject, given, plan, notes)
    chosen = wide or given
    with chosen.problem.state, _raising_clearly(subject):
        judgement = judge(chosen.problem, plan)
        entries = list(judgement.entries)
        if second_order:
            entries += _second_order(chosen, judgement, plan)
        suspect = None
        if look_inside and any(entry.verdict == "fault" for entry in entries):
            suspect = suspect_of(chosen, judgement, plan)
        notes += _notes(chosen, judgement)
    precision = "float64"
    if wide is not None:
        with given.problem.state:
            entries = compared_with_wide(given, wide, judgement, entries, plan.seed)
        precision = f"{_precision(given)}, differences in float64"
    elif judgement.rough:
        precision = f"{_precision(given)} only, wide tolerances"
    return GradientReport(
        entries=(*entries, *given.skipped),
        subject=subject.name,
        mode=plan.mode,
        precision=precision,
        seed=plan.seed,
        suspect=suspect,
        notes=tuple(dict.fromkeys(notes)),
        forwards=given.problem.forwards + (wide.problem.forwards if wide is not None else 0),
        wall_s=time.monotonic() - began,
    )


def _widened(subject: Subject, given: Prepared, plan: Plan, notes: list[str]) -> Prepared | None:
    """The same problem in float64, if it computes the same there."""
    with given.problem.state, _raising_clearly(subject):
        try:
            wide = prepare(subject, widen=True, seed=plan.seed)
            if given.shared:
                raise CheckError("it cannot be copied")
            with wide.problem.state:
                why = same_function(given, wide)
        except Exception as error:
            why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if why is None:
        return wide
    notes.append(f"no float64 copy ({why}): differences in the precision at hand, good to about 1e-3")
    return None


def _second_order(prepared: Prepared, judgement: Judgement, plan: Plan) -> list[Entry]:
    if judgement.gradients is None:
        return []
    try:
        return judge(SecondOrder(prepared.problem, judgement.cotangent), plan, order=2).entries
    except CheckError:
        why = "the gradient is constant: it depends on nothing"
    except (RuntimeError, NotImplementedError) as error:
        why = f"its backward cannot be differentiated: {str(error).splitlines()[0]}"
    return [
        Entry(slot.name, slot.kind, slot.shape, slot.dtype, "not-checkable", len(slot.base), 2, reason=why)
        for slot in prepared.problem.slots
    ]


# ---------------------------------------------------------------------- what is given and told


@contextlib.contextmanager
def _raising_clearly(subject: Subject) -> Iterator[None]:
    """A context that wraps what the user's code raises, with the name of what was checked."""
    try:
        yield
    except CheckError:
        raise
    except Exception as error:
        raise CheckError(f"{subject.name} raised {type(error).__name__}: {error}") from error


def _arguments(inputs: Tensor | Sequence[Any] | Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), inputs
    if isinstance(inputs, list | tuple) and not hasattr(inputs, "_fields"):
        return tuple(inputs), {}
    return (inputs,), {}


def _eager(target: Any) -> Any:
    """What `torch.compile` was given: compiled code rounds differently from run to run of the compiler."""
    if isinstance(target, nn.Module):
        return getattr(target, "_orig_mod", target)
    return getattr(target, "_torchdynamo_orig_callable", target)


def _precision(prepared: Prepared) -> str:
    return "/".join(sorted({slot.dtype for slot in prepared.problem.slots}))


def _notes(prepared: Prepared, judgement: Judgement) -> list[str]:
    state, notes = prepared.problem.state, list(judgement.notes)
    if state.draws_random_numbers:
        notes.append("the forward draws random numbers: each run got the same ones")
    if state.moves_buffers:
        notes.append("the forward changes buffers: they were put back before each run")
    notes += [f"{name} cannot be copied: it was checked in place, and put back" for name in prepared.shared]
    if prepared.problem.with_graph:
        notes.append("without a graph the function computes something else: differences were taken with one")
    return notes


def _call(subject: Subject, plan: Plan, second_order: bool) -> str:
    options = [f"mode={plan.mode!r}" if plan.mode != "auto" else "", f"seed={plan.seed}"]
    options.append("second_order=True" if second_order else "")
    return f"check_gradients({', '.join([subject.name, 'inputs', *filter(None, options)])})"
