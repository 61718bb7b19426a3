"""Assertions that two ways to compute the same thing agree: another model, a compiled one, parts of a batch.

Models are run on copies, in evaluation mode unless `training=True`, with the same random numbers each time. Outputs may
be nested; tensors are compared with the tolerances of `torch.testing.assert_close` for their type, or those given.
"""

from __future__ import annotations

import contextlib
import copy
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from diagnose.checks._rehearsal import Batch, Inputs, LossFn, Rehearsal, first_tensor
from diagnose.collect.callsite import is_ours_or_torchs
from diagnose.collect.nested import mapped
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.testing._verdict import Verdict, concluded

Change = Callable[[Any], Any]

HALF_RTOL: Final = 0.02
"""bfloat16 keeps 8 bits: 0.4 % per operation, and some operations add up."""


def assert_models_agree(
    model: Callable[..., Any],
    reference: Any,
    inputs: Inputs,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    training: bool = False,
    seed: int = 0,
) -> Any:
    """What the model returns, if it is what the reference returns: another implementation, a scripted, quantised or
    pruned model, a streaming one, or outputs that were saved.

    Args:
        model: a module or a function.
        reference: a module or a function of the same inputs; or the outputs themselves.
        inputs: of both.
        rtol, atol: tolerances; None for those of the outputs' type.
        training: whether modules run in training mode.
        seed: of the random numbers that both draw.

    Raises:
        CheckFailedError: they differ.
        CheckError: one of them raises.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Any]:
        output = _run(model, inputs, training, seed)
        expected = _run(reference, inputs, training, seed) if callable(reference) else reference
        return _compared(output, output, expected, rtol, atol, "the reference")

    return concluded("assert_models_agree", look)


def assert_autocast_agrees(
    model: nn.Module,
    inputs: Inputs,
    *,
    dtype: torch.dtype = torch.bfloat16,
    rtol: float = HALF_RTOL,
    atol: float = HALF_RTOL,
    seed: int = 0,
) -> Any:
    """What the model returns under autocast, if it is what it returns without.

    Args:
        dtype: that autocast computes in.
        rtol, atol: tolerances; `atol` counts in units of the largest output.
        seed: of the random numbers that the model draws.

    Raises:
        CheckFailedError: they differ, as where something overflows or loses its digits.
        CheckError: the model raises.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Any]:
        device = next((tensor.device.type for tensor in model.parameters()), "cpu")
        expected = _run(model, inputs, False, seed)
        output = _run(model, inputs, False, seed, torch.autocast(device, dtype=dtype))
        largest = first_tensor(expected)
        unit = float(largest.abs().max()) if largest is not None and largest.numel() else 1.0
        as_before = mapped(output, lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
        wide = mapped(expected, lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
        return _compared(output, as_before, wide, rtol, atol * unit, "the model without autocast")

    return concluded("assert_autocast_agrees", look)


def assert_compiles(
    model: nn.Module,
    inputs: Inputs,
    *again: Inputs,
    backend: str = "eager",
    most_breaks: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> Any:
    """What the compiled model returns, if it is one graph, is not compiled again for other inputs, and agrees.

    Args:
        again: further inputs, such as other batch sizes. The first of them may be compiled anew, with dynamic sizes.
        backend: of `torch.compile`; "eager" finds graph breaks and recompilations without a compiler, "inductor" also
            what the compiler gets wrong.
        most_breaks: of the graph, for the first inputs.
        rtol, atol: tolerances; None for those of the outputs' type.
        seed: of the random numbers that the model draws.

    Raises:
        CheckFailedError: the graph breaks, is compiled again and again, or computes something else.
        CheckError: the model raises.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Any]:
        import torch._dynamo

        graphs: list[int] = []
        compiler: Any = torch._dynamo.lookup_backend(backend)

        def counting(graph: torch.fx.GraphModule, examples: list[Tensor]) -> Any:
            graphs.append(len(graph.graph.nodes))
            return compiler(graph, examples)

        torch._dynamo.reset()
        findings: list[Finding] = []
        output = None
        try:
            with Rehearsal(model, inputs, seed=seed) as rehearsal, torch.no_grad():
                rehearsal.model.eval()
                args, kwargs = rehearsal.batch.args, rehearsal.batch.kwargs
                findings += _breaks(torch._dynamo.explain(rehearsal.model)(*args, **kwargs), most_breaks)
                compiled: Any = torch.compile(rehearsal.model, backend=counting)
                for number, given in enumerate((inputs, *again)):
                    before = len(graphs)
                    rehearsal.restart()
                    batch = rehearsal.batch if number == 0 else _batch(given)
                    result = rehearsal.output(batch, model=compiled)
                    output = result if number == 0 else output
                    if number > 1 and len(graphs) > before:
                        findings.append(_recompiled(number, len(graphs) - before))
                    rehearsal.restart()
                    expected = rehearsal.output(batch)
                    findings += _compared(None, result, expected, rtol, atol, "the model that is not compiled").findings
        finally:
            torch._dynamo.reset()
        summary = f"{len(graphs)} graphs for {1 + len(again)} inputs"
        return Verdict(output, summary, tuple(findings), bool(findings))

    return concluded("assert_compiles", look)


def assert_invariant(
    model: Callable[..., Any],
    inputs: Inputs,
    change: Change,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> Any:
    """What the model returns, if it returns the same for changed inputs: more padding, permuted sets, another memory
    layout, a paraphrase.

    Args:
        change: given the inputs, returns the changed ones.
        rtol, atol: tolerances; None for those of the outputs' type.
        seed: of the random numbers that the model draws.

    Raises:
        CheckFailedError: it returns something else.
        CheckError: the model raises.
    """
    __tracebackhide__ = True
    return concluded(
        "assert_invariant", lambda: _related(model, inputs, change, lambda output: output, rtol, atol, seed)
    )


def assert_equivariant(
    model: Callable[..., Any],
    inputs: Inputs,
    change: Change,
    change_output: Change | None = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> Any:
    """What the model returns, if changed inputs change the output in the same way: permuted rows, shifted images.

    Args:
        change: given the inputs, returns the changed ones.
        change_output: given the output, returns the one that is expected for the changed inputs; None for `change`.
        rtol, atol: tolerances; None for those of the outputs' type.
        seed: of the random numbers that the model draws.

    Raises:
        CheckFailedError: it returns something else.
        CheckError: the model raises.
    """
    __tracebackhide__ = True
    changed = change_output or change
    return concluded("assert_equivariant", lambda: _related(model, inputs, change, changed, rtol, atol, seed))


def assert_directional(
    model: Callable[..., Any],
    inputs: Inputs,
    change: Change,
    score: Callable[[Any], Tensor],
    *,
    rises: bool = True,
    at_least: float = 0.0,
    seed: int = 0,
) -> Any:
    """What the model returns, if a change of the inputs moves its score the expected way in each example.

    Args:
        change: given the inputs, returns the changed ones.
        score: given an output, returns numbers, one per example.
        rises: whether the score is to rise; False: to fall.
        at_least: by how much.
        seed: of the random numbers that the model draws.

    Raises:
        CheckFailedError: it moves otherwise in some example.
        CheckError: the model raises.
    """
    __tracebackhide__ = True

    def look() -> Verdict[Any]:
        output = _run(model, inputs, False, seed)
        before = score(output)
        moved = score(_run(model, change(inputs), False, seed)) - before
        moved = moved if rises else -moved
        wrong = ~(moved >= at_least)
        count, word = int(wrong.sum()), "rise" if rises else "fall"
        summary = f"{count} of {moved.numel()} scores do not {word} by {at_least:g} or more"
        if not count:
            return Verdict(output, summary)
        evidence: dict[str, Evidence] = {"wrong": count, "examples": moved.numel(), "least": float(moved.min())}
        finding = Finding(
            "expectation-not-met",
            Severity.ERROR,
            f"{summary}; the worst one moves by {float(moved.min()):.3g}",
            evidence={**evidence, "at_least": at_least, "first_at": int(torch.nonzero(wrong.reshape(-1))[0])},
            cause="The model has learned something else, or the change is not what it is meant to be.",
            remedy="Look at the example that is named, and at training examples like it.",
        )
        return Verdict(output, summary, (finding,), True)

    return concluded("assert_directional", look)


def assert_accuracy_at_least(
    model: Callable[..., Any], inputs: Inputs, targets: Tensor, at_least: float = 1.0, *, seed: int = 0
) -> float:
    """The share of right answers on examples that the model has to know, if it is as large as said.

    Args:
        targets: shape (N,), classes; the model's answer is the largest of its outputs, shape (N, C, *), or their sign
            for a single logit, shape (N,) or (N, 1).
        at_least: the least share.
        seed: of the random numbers that the model draws.

    Raises:
        CheckFailedError: it is smaller.
        CheckError: the model raises, or returns no tensor of that shape.
    """
    __tracebackhide__ = True

    def look() -> Verdict[float]:
        logits = first_tensor(_run(model, inputs, False, seed))
        if logits is None or not logits.dim() or len(logits) != len(targets):
            raise CheckError("assert_accuracy_at_least needs a model that returns an output for each target")
        single = logits.dim() == 1 or logits.shape[1] == 1
        answers = (logits.reshape(len(logits), -1)[:, 0] > 0).long() if single else logits.argmax(1)
        right = answers == targets.reshape(answers.shape)
        share = float(right.float().mean())
        summary = f"{100 * share:.4g} % right, at least {100 * at_least:.4g} % are to be"
        if share >= at_least:
            return Verdict(share, summary)
        wrong: list[Evidence] = [int(index) for index in torch.nonzero(~right.reshape(-1))[:8, 0]]
        finding = Finding(
            "expectation-not-met",
            Severity.ERROR,
            summary,
            evidence={"accuracy": share, "limit": at_least, "examples": right.numel(), "first_wrong": wrong},
            cause="The model does not know what it has to know, or inputs are prepared otherwise than in training.",
            remedy="Look at the examples that are named; compare their preparation with that of the training data.",
        )
        return Verdict(share, summary, (finding,), True)

    return concluded("assert_accuracy_at_least", look)


def assert_accumulation_equivalent(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    parts: int = 2,
    rtol: float = 1e-3,
    seed: int = 0,
) -> float:
    """The largest relative difference between gradients of a batch and of its parts, added up, if it is small.

    The loss of each part is divided by the number of parts, as a loop that accumulates gradients does. They differ
    where the loss is a sum or a mean over something else than examples (tokens without padding), and where the model
    normalises over the batch.

    Args:
        parts: equal ones; the batch is cut to a multiple.
        rtol: relative difference of a whole gradient, by norm, that is allowed.
        seed: of the random numbers that the model draws.

    Raises:
        CheckFailedError: they differ.
        CheckError: the batch has fewer examples than parts, or the model or the loss raises.
    """
    __tracebackhide__ = True

    def look() -> Verdict[float]:
        with Rehearsal(model, inputs, targets, loss_fn, seed=seed) as rehearsal:
            size = rehearsal.batch.size or 0
            each = size // parts
            if each < 1 or parts < 2:
                raise CheckError(f"{size} examples cannot be divided into {parts} parts of one or more")
            whole = rehearsal.batch.take(range(each * parts))
            together = _gradients(rehearsal, [whole])
            rehearsal.restart()
            split = [whole.take(range(part * each, (part + 1) * each)) for part in range(parts)]
            apart = _gradients(rehearsal, split)
        differences = {name: _relative(apart[name], value) for name, value in together.items()}
        worst = max(differences.values(), default=0.0)
        summary = f"gradients of {parts} parts and of the whole batch differ by at most {worst:.2g}"
        if worst <= rtol:
            return Verdict(worst, summary)
        names = [name for name in sorted(differences, key=lambda n: -differences[n]) if differences[name] > rtol]
        finding = Finding(
            "accumulation-differs",
            Severity.ERROR,
            f"the gradient of {names[0]} from {parts} parts differs by {worst:.2g} of its size from that of the batch",
            Location(parameter=names[0]),
            evidence={"difference": worst, "limit": rtol, "parts": parts, "also_at": list(names[1:])},
            cause="The loss is a sum, or a mean over something else than examples; or the model normalises the batch.",
            remedy="Divide by the count of the whole batch (all tokens of all parts), not by that of a part.",
        )
        return Verdict(worst, summary, (finding,), True)

    return concluded("assert_accumulation_equivalent", look)


def assert_optimizer_covers(optimizer: torch.optim.Optimizer, model: nn.Module, *, ignore: Sequence[str] = ()) -> None:
    """Nothing, if the optimizer holds each parameter of the model that requires a gradient, once, and no other.

    Args:
        ignore: names or patterns ("head.*") of parameters that it need not hold.

    Raises:
        CheckFailedError: some are missing, held twice, or belong to another model.
    """
    __tracebackhide__ = True

    def look() -> Verdict[None]:
        from diagnose.testing._updates import matches

        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        ids = [id(parameter) for parameter in held]
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        missing = [
            name
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and id(parameter) not in ids and not matches(name, ignore)
        ]
        twice = sorted({names.get(i, "?") for i in ids if ids.count(i) > 1})
        foreign = sum(i not in names for i in ids)
        findings = []
        if missing:
            findings.append(_not_held(missing, foreign))
        if twice:
            findings.append(
                Finding(
                    "duplicate-parameter",
                    Severity.ERROR,
                    f"{', '.join(twice[:3])} {'is' if len(twice) == 1 else 'are'} held more than once",
                    Location(parameter=twice[0]),
                    evidence={"held_twice": len(twice), "also_at": list(twice[1:])},
                    cause="Parameter groups overlap.",
                    remedy="Give each parameter to one group.",
                )
            )
        if foreign and not missing:
            findings.append(
                Finding(
                    "parameter-not-updated",
                    Severity.ERROR,
                    f"{foreign} tensors that the optimizer holds do not belong to the model",
                    evidence={"foreign": foreign, "held": len(held)},
                    cause="The optimizer was built from another copy of the model, or from one of its former layers.",
                    remedy="Build the optimizer after the last change to the model.",
                )
            )
        summary = f"{len(missing)} missing, {len(twice)} held twice, {foreign} of another model"
        return Verdict(None, summary, tuple(findings), bool(findings))

    return concluded("assert_optimizer_covers", look)


def assert_resumes(
    make: Callable[[], tuple[Callable[[], Any], Mapping[str, Any]]], *, steps: int = 6, at: int = 3, seed: int = 0
) -> list[float]:
    """The losses of a training, if one that is interrupted and resumed has the same, bit for bit.

    Args:
        make: builds a training: returns a function that makes a step and returns its loss, and by name all that is
            stored for resuming, objects with `state_dict` and `load_state_dict`: model, optimizer, scheduler, scaler,
            moving averages, loader.
        steps: of the whole training.
        at: step after which it is interrupted. Torch's random state is stored too; other generators are not.
        seed: of the training; the one that is resumed is built with another.

    Raises:
        CheckFailedError: losses or states differ.
        ValueError: not 0 < at < steps.
    """
    __tracebackhide__ = True
    if not 0 < at < steps:
        raise ValueError(f"at={at}, steps={steps}: 0 < at < steps is needed")

    def look() -> Verdict[list[float]]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            step, states = make()
            losses = [float(step()) for _ in range(at)]
            stored = {name: copy.deepcopy(state.state_dict()) for name, state in states.items()}
            random_state = torch.get_rng_state()
            losses += [float(step()) for _ in range(at, steps)]
            torch.manual_seed(seed + 1)
            step, resumed = make()
            for name, state in resumed.items():
                state.load_state_dict(copy.deepcopy(stored[name]))
            forgotten = [name for name, state in resumed.items() if not _same(state.state_dict(), stored[name])]
            torch.set_rng_state(random_state)
            again = [float(step()) for _ in range(at, steps)]
        wrong = [n for n, (a, b) in enumerate(zip(losses[at:], again, strict=True), start=at + 1) if a != b]
        moved = [name for name in states if not _same(states[name].state_dict(), resumed[name].state_dict())]
        summary = f"{len(wrong)} of {steps - at} losses and {len(moved)} of {len(states)} states differ after resuming"
        if not wrong and not moved:
            return Verdict(losses, summary)
        evidence: dict[str, Evidence] = {"not_restored": [*forgotten], "differ_at_the_end": [*moved]}
        if wrong:
            evidence |= {"first_step": wrong[0], "loss": losses[wrong[0] - 1], "resumed_loss": again[wrong[0] - 1 - at]}
        finding = Finding(
            "save-load-mismatch",
            Severity.ERROR,
            f"{summary}, the first in step {wrong[0]}" if wrong else f"{summary}: {', '.join(moved)}",
            evidence=evidence,
            cause=f"{', '.join(forgotten)} did not take back what was stored."
            if forgotten
            else "A step depends on something that is not stored: a scheduler, a scaler, moving averages, a counter, a "
            "generator, the place in the data.",
            remedy="Store and load it with the others; give each a state_dict and a load_state_dict.",
        )
        return Verdict(losses, summary, (finding,), True)

    return concluded("assert_resumes", look)


def assert_no_host_sync(function: Callable[..., Any], *args: Any, warm_up: int = 1) -> Any:
    """What the function returns, if it never makes the CPU wait for a CUDA device.

    Args:
        function: such as one training step.
        args: of the function.
        warm_up: calls before that may wait: memory is reserved, kernels are loaded.

    Raises:
        CheckFailedError: it waits, as `.item()`, `.cpu()`, `print(tensor)` and `if tensor:` do.
        CheckError: there is no CUDA device.
    """
    __tracebackhide__ = True
    if not torch.cuda.is_available():
        raise CheckError("assert_no_host_sync needs a CUDA device")

    def look() -> Verdict[Any]:
        for _ in range(warm_up):
            function(*args)
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            return Verdict(function(*args), "no wait for the device")
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            place = _users_line(error)
        finally:
            torch.cuda.set_sync_debug_mode(before)
        where = Location(file=place[0], line=place[1]) if place else Location()
        finding = Finding(
            "host-sync",
            Severity.ERROR,
            "the CPU waits for the device" + (f" at {where}" if place else ""),
            where,
            cause="A value is read from the device: .item(), .cpu(), float(tensor), `if tensor:`, a mask.",
            remedy="Keep it on the device, and read it every hundred steps; use torch.where instead of `if`.",
        )
        return Verdict(None, finding.message, (finding,), True)

    return concluded("assert_no_host_sync", look)


def assert_on_device(model: nn.Module, device: str | torch.device) -> None:
    """Nothing, if all parameters and buffers of the model are on the device.

    Args:
        device: "cuda" stands for any of its devices, "cuda:1" for that one.

    Raises:
        CheckFailedError: some are elsewhere.
    """
    __tracebackhide__ = True

    def look() -> Verdict[None]:
        wanted = torch.device(device)
        tensors = [*model.named_parameters(), *model.named_buffers()]
        wrong = [
            (name, str(tensor.device))
            for name, tensor in tensors
            if tensor.device.type != wanted.type or wanted.index not in (None, tensor.device.index)
        ]
        summary = f"{len(wrong)} of {len(tensors)} tensors are not on {wanted}"
        if not wrong:
            return Verdict(None, summary)
        finding = Finding(
            "wrong-device",
            Severity.ERROR,
            f"{summary}: {wrong[0][0]} is on {wrong[0][1]}",
            Location(parameter=wrong[0][0]),
            evidence={"devices": [*sorted({place for _, place in wrong})], "also_at": [name for name, _ in wrong[1:]]},
            cause="The model was not moved, or has tensors that are neither parameters nor buffers of it.",
            remedy=f"Call model.to('{wanted}') before the optimizer is built; register tensors with register_buffer.",
        )
        return Verdict(None, summary, (finding,), True)

    return concluded("assert_on_device", look)


# ---------------------------------------------------------------------- running and comparing


def _batch(inputs: Inputs) -> Batch:
    if isinstance(inputs, Mapping):
        return Batch((), dict(inputs))
    is_several = isinstance(inputs, list | tuple) and not hasattr(inputs, "_fields")
    return Batch(tuple(inputs) if is_several else (inputs,), {})


def _run(
    model: Callable[..., Any],
    inputs: Inputs,
    training: bool,
    seed: int,
    around: contextlib.AbstractContextManager[Any] | None = None,
) -> Any:
    """What the model returns for the inputs; always with the same random numbers."""
    with torch.no_grad(), around or contextlib.nullcontext():
        if isinstance(model, nn.Module):
            with Rehearsal(model, inputs, seed=seed) as rehearsal:
                rehearsal.model.train(training)
                return rehearsal.output()
        batch = _batch(inputs)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return model(*batch.args, **batch.kwargs)


def _related(
    model: Callable[..., Any],
    inputs: Inputs,
    change: Change,
    change_output: Change,
    rtol: float | None,
    atol: float | None,
    seed: int,
) -> Verdict[Any]:
    output = _run(model, inputs, False, seed)
    changed = _run(model, change(inputs), False, seed)
    return _compared(output, changed, change_output(output), rtol, atol, "what the change of the inputs asks for")


def _compared(
    value: Any, actual: Any, expected: Any, rtol: float | None, atol: float | None, what: str
) -> Verdict[Any]:
    """The verdict on two outputs; `value` is what the assertion returns."""
    if rtol is not None or atol is not None:  # assert_close wants both or none
        rtol, atol = rtol or 0.0, atol or 0.0
    try:
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
    except (AssertionError, ValueError, TypeError) as error:
        message = " ".join(str(error).split())
    else:
        return Verdict(value, f"agrees with {what}")
    one, other = first_tensor(actual), first_tensor(expected)
    evidence: dict[str, Evidence] = {"rtol": rtol, "atol": atol} if rtol is not None else {}
    if one is not None and other is not None and one.shape == other.shape and one.numel():
        difference = (one.double() - other.double()).abs()
        evidence = {
            "largest_difference": float(difference.max()),
            "largest_expected": float(other.double().abs().max()),
            "first_at": list(map(int, torch.unravel_index(difference.argmax(), difference.shape))),
            **evidence,
        }
    finding = Finding(
        "outputs-differ",
        Severity.ERROR,
        f"the output is not {what}: {message}",
        evidence=evidence,
        cause="They compute something else, or the same in another order or precision.",
        remedy="Compare layer by layer to find the first one that differs; if last digits do, widen rtol and atol.",
    )
    return Verdict(value, f"differs from {what}", (finding,), True)


def _same(one: Any, other: Any) -> bool:
    """Whether two states are equal, bit for bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) or (one != one and other != other)


def _users_line(error: BaseException) -> tuple[str, int] | None:
    """The innermost line of the user's own code in a traceback."""
    lines = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not is_ours_or_torchs(frame.f_code)
    ]
    return lines[-1] if lines else None


def _breaks(explained: Any, most: int) -> list[Finding]:
    """What `torch._dynamo.explain` says of the graph."""
    reasons = explained.break_reasons
    if len(reasons) <= most and explained.graph_count:
        return []
    first, place = "", None
    if reasons:
        first = str(reasons[0].reason).splitlines()[0]
        place = reasons[0].user_stack[-1] if reasons[0].user_stack else None
    count = f"the graph of the model breaks {len(reasons)} times, {most} may be"
    return [
        Finding(
            "graph-break",
            Severity.ERROR,
            f"{count}: {first}" if reasons else "nothing of the model was compiled",
            Location(file=place.filename, line=place.lineno) if place is not None else Location(),
            evidence={"breaks": len(reasons), "limit": most, "graphs": explained.graph_count},
            cause="The forward prints, calls .item() or .numpy(), branches on values of tensors, or leaves torch.",
            remedy="TORCH_LOGS=graph_breaks shows the line of each break; torch.compile(fullgraph=True) raises there.",
        )
    ]


def _recompiled(number: int, graphs: int) -> Finding:
    return Finding(
        "graph-break",
        Severity.ERROR,
        f"the model was compiled again for the inputs number {number + 1}",
        evidence={"graphs": graphs},
        cause="The graph is tied to a size or a value of the inputs, or to an attribute that changes.",
        remedy="TORCH_LOGS=recompiles names the guard; mark sizes as dynamic with torch._dynamo.mark_dynamic.",
    )


def _gradients(rehearsal: Rehearsal, parts: Sequence[Batch]) -> dict[str, Tensor]:
    rehearsal.model.zero_grad(set_to_none=True)
    for part in parts:
        (rehearsal.loss(part) / len(parts)).backward()
    found = {n: p.grad.detach().clone() for n, p in rehearsal.model.named_parameters() if p.grad is not None}
    rehearsal.model.zero_grad(set_to_none=True)
    return found


def _relative(value: Tensor, expected: Tensor) -> float:
    size = float(torch.linalg.vector_norm(expected.double()))
    difference = float(torch.linalg.vector_norm(value.double() - expected.double()))
    if not math.isfinite(difference):
        return math.inf
    return difference / size if size else (math.inf if difference else 0.0)


def _not_held(missing: Sequence[str], foreign: int) -> Finding:
    others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return Finding(
        "parameter-not-updated",
        Severity.ERROR,
        f"{missing[0]}{others} {'require gradients' if others else 'requires a gradient'}, and the optimizer does not "
        "hold them",
        Location(parameter=missing[0]),
        evidence={"missing": len(missing), "foreign": foreign, "also_at": list(missing[1:])},
        cause="The optimizer was built before the model was changed, copied or converted."
        if foreign
        else "The optimizer was built from a part of the parameters.",
        remedy="Build the optimizer after the last change to the model, from all its parameters.",
    )
