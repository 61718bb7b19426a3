"""check_gradients beside torch.autograd.gradcheck, slow and fast, in one run.

    python benchmarks/gradcheck.py                      all parts; half an hour on two cores
    python benchmarks/gradcheck.py --only operators models
    python benchmarks/gradcheck.py --quick              a minute, every part on a few cases
    python benchmarks/gradcheck.py --markdown out.md    also writes the tables there

Parts: `operators` (false alarms over the samples of torch's own operator database, float64), `faults` (planted in
these), `units` (odd scales of inputs and outputs), `kinks`, `precision` (float32), `models` (time, and whether faults
are located). A fault counts only where it changes the gradient by more than 0.1 %, for the upstream gradients at hand
or for large ones. What raises counts as reported. torch's operator database needs `pip install expecttest`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.utils._pytree import tree_flatten, tree_unflatten

from diagnose import DiagnoseError, check_gradients

PARTS = ("operators", "faults", "units", "kinks", "precision", "models")
CHECKERS = ("gradcheck slow", "gradcheck fast", "check_gradients")


@dataclass(frozen=True)
class Case:
    """A correct function and its inputs, all of which require gradients."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]


# ---------------------------------------------------------------------- what is checked


def operator_cases(per_operator: int, largest: int) -> Iterator[Case]:
    """Samples of torch's operator database as its own gradient tests take them."""
    from torch.testing._internal.common_methods_invocations import op_db

    for op in op_db:
        if op.name == "normal":  # random: its gradient is 0 by definition
            continue
        if not op.supports_autograd or torch.float64 not in op.supported_backward_dtypes("cpu"):
            continue
        if any(d.cls_name in ("TestBwdGradients", None) and d.test_name == "test_fn_grad" for d in _decorators(op)):
            continue  # torch's own tests expect it to fail
        samples = itertools.islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), 20)
        cases = (_case(op, sample) for sample in samples)
        fitting = (case for case in cases if case is not None and sum(t.numel() for t in case.inputs) <= largest)
        try:
            yield from itertools.islice(fitting, per_operator)
        except (RuntimeError, TypeError, ValueError, ImportError):  # samples that need something that is not there
            continue


def _decorators(op: Any) -> list[Any]:
    from torch.testing._internal.opinfo.core import DecorateInfo

    return [d for d in op.decorators if isinstance(d, DecorateInfo)]


def _case(op: Any, sample: Any) -> Case | None:
    flat, spec = tree_flatten((sample.input, sample.args, sample.kwargs))
    places = [i for i, t in enumerate(flat) if isinstance(t, Tensor) and t.requires_grad and t.numel()]
    process = sample.output_process_fn_grad

    def function(*inputs: Tensor) -> Any:
        values = list(flat)
        for place, value in zip(places, inputs, strict=True):
            values[place] = value
        first, args, kwargs = tree_unflatten(values, spec)
        output = op.gradcheck_wrapper(op.get_op(), first, *args, **kwargs)
        return differentiable(process(output) if process else output)

    inputs = tuple(flat[i].detach().clone().requires_grad_() for i in places)
    if not inputs or any(t.layout != torch.strided for t in inputs):
        return None
    try:
        torch.manual_seed(0)
        outputs = function(*inputs)
        again = function(*inputs)
    except Exception:
        return None
    # Random and uninitialised results are no functions of the inputs.
    if not outputs or not all(
        torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in zip(outputs, again, strict=True)
    ):
        return None
    if not all(o.layout == torch.strided and bool(torch.isfinite(o.abs()).all()) for o in outputs):
        return None
    if any(o.dtype not in (torch.float64, torch.complex128) for o in outputs):
        return None  # casts: no float64 functions
    return Case(f"{op.name}{'.' + op.variant_test_name if op.variant_test_name else ''}", function, inputs)


def differentiable(output: Any) -> tuple[Tensor, ...]:
    return tuple(t for t in tree_flatten(output)[0] if isinstance(t, Tensor) and t.requires_grad and t.numel())


# ---------------------------------------------------------------------- faults


class Planted(torch.autograd.Function):
    """A function whose backward is right but for a fault."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], fault: Fault, *inputs: Tensor) -> Any:
        with torch.enable_grad():
            ctx.inputs = [t.detach().clone().requires_grad_() for t in inputs]
            ctx.outputs = differentiable(function(*ctx.inputs))
        ctx.fault = fault
        return tuple(o.detach().clone() for o in ctx.outputs)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        upstream = tuple(ctx.fault.upstream(g) for g in upstream)
        grads = torch.autograd.grad(ctx.outputs, ctx.inputs, upstream, retain_graph=True, allow_unused=True)
        full = [torch.zeros_like(t) if g is None else g for t, g in zip(ctx.inputs, grads, strict=True)]
        return None, None, *ctx.fault.gradients([g.clone() for g in full], ctx.inputs)


@dataclass(frozen=True)
class Fault:
    name: str
    gradients: Callable[[list[Tensor], Sequence[Tensor]], Sequence[Tensor | None]] = lambda g, x: g
    upstream: Callable[[Tensor], Tensor] = lambda g: g


def planted(case: Case, fault: Fault) -> Callable[..., Any]:
    return lambda *inputs: Planted.apply(case.function, fault, *inputs)


def _each(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    return lambda grads, inputs: [change(g, x) for g, x in zip(grads, inputs, strict=True)]


def _one_element(grads: list[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The element of median size among those that are not zero, off by 10 %."""
    largest = max(range(len(grads)), key=lambda i: grads[i].numel())
    flat = grads[largest].contiguous().reshape(-1)
    nonzero = flat.abs().nonzero().flatten()
    if nonzero.numel():
        order = flat.abs()[nonzero].argsort()
        # Chosen by the inputs alone, so that it is the same element in each pass.
        flat[nonzero[order[len(order) // 2]]] *= 1.1
    grads[largest] = flat.reshape(grads[largest].shape)
    return grads


def _transposed(gradient: Tensor, _: Tensor) -> Tensor:
    return (
        gradient.mT.reshape(gradient.shape) if gradient.dim() > 1 else gradient.flip(0) if gradient.dim() else gradient
    )


def _tail(gradient: Tensor, _: Tensor) -> Tensor:
    flat = gradient.reshape(-1).clone()
    flat[-max(1, flat.numel() // 4) :] = 0
    return flat.reshape(gradient.shape)


def _noisy(gradient: Tensor, _: Tensor) -> Tensor:
    """Each pass another 0.1 %: from the system's randomness, which no seed reaches."""
    return gradient * (1 + 1e-3 * random.SystemRandom().uniform(-1, 1))


def _negative(gradient: Tensor, x: Tensor) -> Tensor:
    real = x.real if x.is_complex() else x
    return torch.where(real < 0, 2 * gradient, gradient)


FAULTS = (
    Fault("sign", _each(lambda g, x: -g)),
    Fault("factor 2", _each(lambda g, x: 2 * g)),
    Fault("one input gets none", lambda grads, inputs: [None, *grads[1:]]),
    Fault("transposed or reversed", _each(_transposed)),
    Fault("shifted by one", _each(lambda g, x: g.reshape(-1).roll(1).reshape(g.shape))),
    Fault("zeroed tail", _each(_tail)),
    Fault("1 % scale", _each(lambda g, x: 1.01 * g)),
    Fault("one element 10 %", _one_element),
    Fault("wrong where x < 0", _each(_negative)),
    Fault("upstream ignored", upstream=torch.ones_like),
    Fault(
        "upstream clamped to 1", upstream=lambda g: g.clamp(-1, 1) if not g.is_complex() else g / g.abs().clamp(min=1)
    ),
    Fault("run-to-run noise 0.1 %", _each(_noisy)),
)


def changes_gradient(case: Case, fault: Fault) -> bool:
    """Whether the fault makes a difference of more than 0.1 %, for upstream gradients around 1 or around 1000."""
    generator = torch.Generator().manual_seed(1)
    for magnitude in (1.0, 1e3):
        outputs = differentiable(case.function(*case.inputs))
        wrong = planted(case, fault)(*case.inputs)
        upstream = [magnitude * torch.randn(o.shape, generator=generator, dtype=o.dtype) for o in outputs]
        right = torch.autograd.grad(outputs, case.inputs, upstream, allow_unused=True)
        found = torch.autograd.grad(wrong, case.inputs, upstream, allow_unused=True)
        pairs = [
            (torch.zeros_like(x) if a is None else a, torch.zeros_like(x) if b is None else b)
            for x, a, b in zip(case.inputs, right, found, strict=True)
        ]
        size = max(float(o.abs().max()) for o in outputs) * magnitude
        for x, (a, b) in zip(case.inputs, pairs, strict=True):
            if float(a.abs().max()) * float(x.abs().max()) < 1e-12 * size:
                continue  # zero to rounding
            if float((a - b).norm()) > 1e-3 * float(a.norm()) and float(a.abs().max()) < math.inf:
                return True
            gap = (a - b).abs()
            if gap.numel() and bool((gap > 0.05 * a.abs()).any()) and float(gap.max()) > 1e-6 * float(a.norm()):
                return True
    return fault.name.startswith("run-to-run") and any(float(a.norm()) > 0 for a, _ in pairs)


# ---------------------------------------------------------------------- the checkers


def flagged(checker: str, function: Callable[..., Any], inputs: Sequence[Tensor]) -> tuple[bool, float]:
    """Whether a checker reports the function, and the seconds that it took."""
    began = time.process_time()
    inputs = [t.detach().clone().requires_grad_() for t in inputs]
    try:
        if checker == "check_gradients":
            bad = not check_gradients(function, inputs, parameters=False, seconds=1.0, progress=False).ok
        else:
            bad = not gradcheck(function, inputs, fast_mode=checker.endswith("fast"), raise_exception=False)
    except (RuntimeError, DiagnoseError, ValueError, TypeError):
        bad = True
    return bad, time.process_time() - began


@dataclass
class Tally:
    """How many of how many were reported, by checker."""

    label: str
    total: int = 0
    reported: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHECKERS, 0))
    seconds: dict[str, list[float]] = field(default_factory=lambda: {c: [] for c in CHECKERS})
    names: dict[str, list[str]] = field(default_factory=lambda: {c: [] for c in CHECKERS})

    def add(self, name: str, function: Callable[..., Any], inputs: Sequence[Tensor], *, expected: bool) -> None:
        self.total += 1
        for checker in CHECKERS:
            bad, seconds = flagged(checker, function, inputs)
            self.reported[checker] += bad
            self.seconds[checker].append(seconds)
            if bad != expected:
                self.names[checker].append(name)

    def row(self) -> list[str]:
        shares = [f"{100 * self.reported[c] / max(self.total, 1):.1f} % ({self.reported[c]})" for c in CHECKERS]
        return [self.label, str(self.total), *shares]


HEADER = ["", "cases", *CHECKERS]


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def show_misses(tallies: Sequence[Tally]) -> None:
    for tally in tallies:
        for checker in CHECKERS:
            if (names := tally.names[checker]) and (checker == "check_gradients" or len(names) < 12):
                print(f"  unexpected, {tally.label}, {checker}: {', '.join(names[:12])}", file=sys.stderr)


# ---------------------------------------------------------------------- the parts


def part_operators(options: argparse.Namespace) -> str:
    """Reported of correct functions: each is a false alarm."""
    tally = Tally("op_db samples, all correct")
    for case in operator_cases(1 if options.quick else options.samples, options.largest):
        if options.quick and tally.total >= 40:
            break
        tally.add(case.name, case.function, case.inputs, expected=False)
    show_misses([tally])
    totals = [f"{sum(tally.seconds[c]):.1f} s" for c in CHECKERS]
    return table([HEADER, tally.row(), ["time in all", "", *totals]])


def part_faults(options: argparse.Namespace) -> str:
    """Reported of functions with one fault planted: the more the better."""
    tallies = {fault.name: Tally(fault.name) for fault in FAULTS}
    for number, case in enumerate(operator_cases(1, options.largest)):
        if number % (options.every * (12 if options.quick else 1)):
            continue
        for fault in FAULTS:
            try:
                real = changes_gradient(case, fault)
            except (RuntimeError, IndexError, NotImplementedError):
                continue
            if real:
                tallies[fault.name].add(case.name, planted(case, fault), case.inputs, expected=True)
    show_misses(list(tallies.values()))
    return table([HEADER, *(tally.row() for tally in tallies.values())])


def part_units(options: argparse.Namespace) -> str:
    """Correct functions and faults with outputs scaled, and with inputs in other units."""
    tallies: dict[str, Tally] = {}
    chosen = [FAULTS[0], FAULTS[1], FAULTS[6]]
    scales: list[tuple[str, float, float]] = [
        ("output x 1e-6", 1e-6, 1.0),
        ("output x 1e6", 1e6, 1.0),
        ("inputs in units of 1e7", 1.0, 1e7),
        ("inputs in units of 1e-7", 1.0, 1e-7),
    ]
    for number, case in enumerate(operator_cases(1, options.largest)):
        if number % (options.every * 3 * (8 if options.quick else 1)):
            continue
        for label, output_factor, unit in scales:
            scaled = _scaled(case, output_factor, unit)
            tallies.setdefault(f"{label}: correct", Tally(f"{label}: correct")).add(
                case.name, scaled.function, scaled.inputs, expected=False
            )
            for fault in chosen:
                try:
                    real = changes_gradient(scaled, fault)
                except (RuntimeError, IndexError, NotImplementedError):
                    continue
                if real:
                    key = f"{label}: {fault.name}"
                    tallies.setdefault(key, Tally(key)).add(
                        case.name, planted(scaled, fault), scaled.inputs, expected=True
                    )
    show_misses(list(tallies.values()))
    return table([HEADER, *(tallies[key].row() for key in sorted(tallies, key=lambda k: (k.split(":")[0], k)))])


def _scaled(case: Case, output_factor: float, unit: float) -> Case:
    def function(*inputs: Tensor) -> Any:
        return tuple(output_factor * o for o in differentiable(case.function(*(x * unit for x in inputs))))

    return Case(case.name, function, tuple((x.detach() / unit).requires_grad_() for x in case.inputs))


def part_kinks(options: argparse.Namespace) -> str:
    """Correct functions at their kinks: each report is a false alarm. Then faults there."""
    right, wrong = Tally("at kinks: correct"), Tally("at kinks: sign")
    for name, function, inputs in kink_cases():
        case = Case(name, function, inputs)
        right.add(name, function, inputs, expected=False)
        if changes_gradient(case, FAULTS[0]):
            wrong.add(name, planted(case, FAULTS[0]), inputs, expected=True)
    show_misses([right, wrong])
    return table([HEADER, right.row(), wrong.row()])


def kink_cases() -> Iterator[tuple[str, Callable[..., Any], tuple[Tensor, ...]]]:
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    half_zero = some(4, 5)
    half_zero[:, ::2] = 0
    tied = torch.randint(0, 3, (4, 6), generator=generator).double()
    functions: list[tuple[str, Callable[[Tensor], Any], Tensor]] = [
        ("relu", F.relu, half_zero),
        ("leaky_relu", F.leaky_relu, half_zero),
        ("relu6", F.relu6, half_zero * 6),
        ("abs", torch.abs, half_zero),
        ("hardtanh", F.hardtanh, half_zero.sign()),
        ("hardshrink", F.hardshrink, half_zero.sign() * 0.4),
        ("clamp", lambda x: x.clamp(min=0), half_zero),
        ("amax, ties", lambda x: x.amax(1), tied),
        ("max, ties", lambda x: x.max(1).values, tied),
        ("median, ties", lambda x: x.median(1).values, tied),
        ("max_pool1d, ties", lambda x: F.max_pool1d(x[None], 2), tied),
        ("maximum, equal", lambda x: torch.maximum(x, x.round()), tied),
        ("l1_loss at its target", lambda x: F.l1_loss(x, torch.zeros_like(x)), half_zero),
        ("norm at zero", lambda x: x.norm(dim=1), torch.zeros(3, 4, dtype=torch.float64)),
        ("sort, ties", lambda x: x.sort(1).values, tied),
    ]
    yield from ((name, function, (x.clone().requires_grad_(),)) for name, function, x in functions)
    weight = some(5, 3)
    yield (
        "relu net on zero rows",
        lambda x, w: F.relu(x @ w),
        (
            torch.cat([torch.zeros(2, 5, dtype=torch.float64), some(2, 5)]).requires_grad_(),
            weight.clone().requires_grad_(),
        ),
    )


def part_precision(options: argparse.Namespace) -> str:
    """float32: as any code, in functions that run in float32 only, and with faults in either."""
    tallies: dict[str, Tally] = {}
    chosen = [FAULTS[0], FAULTS[1], FAULTS[5], FAULTS[6], FAULTS[7]]
    for number, case in enumerate(operator_cases(1, options.largest)):
        if number % (options.every * 3 * (8 if options.quick else 1)):
            continue
        for label, narrow in (("float32", _float32(case)), ("float32 only", _float32_only(case))):
            try:
                outputs = differentiable(narrow.function(*narrow.inputs))
            except Exception:
                continue
            if not outputs or any(o.dtype != torch.float32 for o in outputs):
                continue
            if any(x.is_complex() for x in narrow.inputs):
                continue
            tallies.setdefault(f"{label}: correct", Tally(f"{label}: correct")).add(
                case.name, narrow.function, narrow.inputs, expected=False
            )
            for fault in chosen:
                try:
                    real = changes_gradient(narrow, fault)
                except (RuntimeError, IndexError, NotImplementedError):
                    continue
                if real:
                    key = f"{label}: {fault.name}"
                    tallies.setdefault(key, Tally(key)).add(
                        case.name, planted(narrow, fault), narrow.inputs, expected=True
                    )
    show_misses(list(tallies.values()))
    return table([HEADER, *(tallies[key].row() for key in sorted(tallies))])


def _float32(case: Case) -> Case:
    """The same inputs rounded to float32; the operator takes what dtype it is given."""

    def function(*inputs: Tensor) -> Any:
        return differentiable(case.function(*inputs))

    return Case(case.name, function, tuple(x.detach().float().requires_grad_() for x in case.inputs))


def _float32_only(case: Case) -> Case:
    """What computes in float32, whatever it is given, as a kernel would that was written for it."""

    def function(*inputs: Tensor) -> Any:
        return tuple(o.float() for o in differentiable(case.function(*(x.float() for x in inputs))))

    return Case(case.name, function, tuple(x.detach().float().requires_grad_() for x in case.inputs))


# ---------------------------------------------------------------------- whole models


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.encoder(self.embed(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, 16, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.rnn(x)[0][:, -1])


def models() -> dict[str, tuple[nn.Module, Tensor]]:
    torch.manual_seed(0)
    conv = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    mlp = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 50), nn.Tanh(), nn.Linear(50, 4))
    made = {
        "MLP": (mlp, torch.randn(16, 20)),
        "conv + BatchNorm, training": (conv, torch.randn(4, 1, 10, 10)),
        "LSTM": (Recurrent(), torch.randn(4, 7, 5)),
        "transformer, dropout": (Transformer(), torch.randn(4, 6, 8)),
    }
    return {name: (model.double().train(), x.double()) for name, (model, x) in made.items()}


def gradcheck_of_model(model: nn.Module, x: Tensor, *, fast: bool) -> bool:
    """What gradcheck says over all parameters of a model with a scalar loss, as one has to write it."""
    named = dict(model.named_parameters())
    names = list(named)

    def loss(*values: Tensor) -> Any:
        torch.manual_seed(0)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        output = torch.func.functional_call(model, {**dict(zip(names, values, strict=True)), **buffers}, (x,))
        return output.square().mean()

    values = [p.detach().clone().requires_grad_() for p in named.values()]
    return bool(gradcheck(loss, values, fast_mode=fast, raise_exception=False))


def part_models(options: argparse.Namespace) -> str:
    """Seconds for all parameters, interleaved; and whether one wrong element is found and named."""
    rounds = 2 if options.quick else options.rounds
    rows = [
        ["model", "parameters", "gradcheck slow", "gradcheck fast", "check_gradients", "slow / ours", "ours / fast"]
    ]
    located = [["model", "located: parameter and element, one element off by 10 %", "module named"]]
    for name, (model, x) in models().items():
        times: dict[str, list[float]] = {checker: [] for checker in CHECKERS}
        verdicts: dict[str, bool] = {}
        for number in range(rounds + 1):
            for checker in CHECKERS:
                if checker == "gradcheck slow" and number > max(1, rounds // 3):
                    continue
                began = time.process_time()
                if checker == "check_gradients":
                    report = check_gradients(model, [x], loss_fn=_mean_square, progress=False)
                    verdicts[checker] = report.ok
                else:
                    verdicts[checker] = gradcheck_of_model(model, x, fast=checker.endswith("fast"))
                if number:  # the first round warms up
                    times[checker].append(time.process_time() - began)
        medians = {checker: statistics.median(values) for checker, values in times.items()}
        cells = [
            f"{medians[c]:.3g} s ({min(times[c]):.3g}-{max(times[c]):.3g}){'' if verdicts[c] else ' FALSE ALARM'}"
            for c in CHECKERS
        ]
        slow, fast, ours = (medians[c] for c in CHECKERS)
        count = sum(p.numel() for p in model.parameters())
        rows.append([name, str(count), *cells, f"{slow / ours:.1f}", f"{ours / fast:.2f}"])
        located.append([name, *_located(model, x, 3 if options.quick else 10)])
    return table(rows) + "\n\n" + table(located)


def _mean_square(output: Tensor) -> Tensor:
    return output.square().mean()


class _Off(torch.autograd.Function):
    """The identity, with one element of the gradient off by 10 %."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, position: int) -> Any:
        ctx.position = position
        return x.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        wrong = upstream.clone().contiguous()
        wrong.view(-1)[ctx.position] *= 1.1
        return wrong, None


class _OffWeight(nn.Module):
    """A parametrization: the weight itself, with one element of its gradient off by 10 %."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position

    def forward(self, weight: Tensor) -> Any:
        return _Off.apply(weight, self.position)


def _located(model: nn.Module, x: Tensor, trials: int) -> tuple[str, str]:
    """Faults in single weight elements, one after another: was it found, and where?"""
    import copy

    from torch.nn.utils import parametrize

    generator = random.Random(0)
    linear = [name for name, module in model.named_modules() if type(module) in (nn.Linear, nn.Conv2d)]
    right = named = 0
    for _ in range(trials):
        broken = copy.deepcopy(model)
        name = generator.choice(linear)
        module = broken.get_submodule(name)
        position = generator.randrange(module.weight.numel())
        parametrize.register_parametrization(module, "weight", _OffWeight(position))
        report = check_gradients(broken, [x], loss_fn=_mean_square, progress=False)
        faulty = [entry for entry in report.entries if entry.verdict == "fault"]
        expected = f"{name}.parametrizations.weight.original" if name else "parametrizations.weight.original"
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(position), module.weight.shape))
        if [e.name for e in faulty] == [expected] and [e.index for e in faulty[0].elements] == [index]:
            right += 1
        named += report.suspect is not None and str(report.suspect.module).startswith(name)
    return f"{right} of {trials}", f"{named} of {trials}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a few cases per part")
    parser.add_argument("--samples", type=int, default=2, help="samples per operator (default: 2)")
    parser.add_argument("--every", type=int, default=1, help="plant faults in every n-th operator only")
    parser.add_argument("--largest", type=int, default=80, help="elements of a case's inputs (default: 80)")
    parser.add_argument("--rounds", type=int, default=7, help="of the timings (default: 7)")
    parser.add_argument("--markdown", type=Path, help="also write the tables into this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    texts = []
    for part in options.only:
        function = globals()[f"part_{part}"]
        began = time.process_time()
        text = f"### {part}\n\n{function.__doc__}\n\n{function(options)}\n"
        print(text, flush=True)
        print(f"({part}: {time.process_time() - began:.0f} s)", file=sys.stderr, flush=True)
        texts.append(text)
        if options.markdown:
            options.markdown.write_text("\n".join(texts), encoding="utf-8")


if __name__ == "__main__":
    main()
