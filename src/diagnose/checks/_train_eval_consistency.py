"""train_eval_consistency: do training and evaluation mode compute the same, but for dropout and batch statistics?"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import TorchFunctionMode

from diagnose.checks._rehearsal import Inputs, Rehearsal, first_tensor
from diagnose.checks._result import CheckResult
from diagnose.checks._tensors import changes, named_tensors, rounding_of, same_bits, spread
from diagnose.checks._trace import Call, line_in_model, name_of, traced
from diagnose.collect.callsite import CallSite
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "train-eval-consistency"
CODE: Final = "train-eval-mismatch"

_PASSES: Final = 44
"""Until statistics have settled. With a weight of 0.1 for each batch, torch's default and that of most that people
write, 1 % of what they were at the start is left."""
_SLOWEST: Final = 0.3
"""Smaller momenta of torch's modules are raised to this while statistics settle: whether they follow is asked, not how
fast. 1e-7 is left of the start."""
_DRAWS: Final = 32
_SHIFT: Final = 0.3
"""In spreads of the outputs. Noise before a nonlinearity shifts the mean a little; dropout that does not divide by
1 - p shifts it by about p."""
_ENOUGH: Final = 8
"""Values per channel from which statistics of several calls in one forward can be compared."""


def train_eval_consistency(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    limit: float = 0.1,
    max_momentum: float = 0.9,
    seed: int = 0,
) -> CheckResult:
    """Whether outputs in training and in evaluation mode differ only through dropout and batch statistics.

    On a copy: dropout is switched off, running statistics are reset and settle on the batch, and then both modes have
    to give the same outputs. Where they do not, the finding names the normalisation whose statistics do not follow, or
    the first call that one mode makes and the other does not. Dropout and batch statistics that are active in
    evaluation mode are found as well.

    Args:
        model, inputs, targets: as for a training step; `targets` are not used.
        limit: root mean square difference of outputs, as a share of their spread, from which modes differ.
        max_momentum: of batch normalisation; with more, statistics are those of the last batch (an `info`).
        seed: of random numbers, the same ones in both modes.

    Returns:
        Not applicable: the model cannot be run in training mode with this batch, or returns something else there.
        Noise that is drawn in training mode only (a VAE, stochastic depth) leaves only statistics to be looked at.

    Raises:
        CheckError: the model raises in evaluation mode, or cannot be copied.

    Source:
        Ioffe & Szegedy, "Batch Normalization", 2015: running statistics stand for those of batches. A tenth leaves room
        for what a normalisation of one's own does with n and n - 1; torch's own is corrected for that, and agrees to
        the last digits.
    """
    with Rehearsal(model, inputs, targets, seed=seed) as rehearsal, torch.no_grad():
        modes = _Modes(rehearsal, seed)
        findings = list(_active_in_evaluation(modes))
        try:
            modes.settle()
        except CheckError as error:
            return _unless(findings, f"it cannot be run in training mode: {error}")
        findings += _statistics(modes, max_momentum)
        evidence: dict[str, Evidence] = {"limit": limit, "batch_norms": len(modes.norms), "passes": modes.passes}
        if modes.frozen:
            evidence["frozen_in_training_mode"] = [*modes.frozen]
        difference = _Difference.between(modes.evaluated(), modes.trained())
        if difference is None:
            return _unless(findings, "it returns something else in training mode")
        evidence["difference_in_spreads"] = difference.size
        noisy = modes.is_noisy()
        if noisy:
            evidence["noise_in_training_mode_only"] = True
            evidence["mean_with_noise_off_by"] = shift = modes.shift_of_mean()
            findings += [_shifted(shift)] if shift > _SHIFT else []
        elif difference.size > limit and not findings:
            findings += _explained(modes, difference, limit)
    findings.sort(key=lambda finding: finding.severity.rank)
    failed = next((f for f in findings if f.severity.at_least(Severity.WARNING)), None)
    if failed is not None:
        summary = failed.message
    elif noisy:
        summary = "training mode draws random numbers of its own: only statistics were compared"
    elif difference.size <= limit:
        summary = f"without dropout both modes agree to {difference.size:.1g} of the outputs' spread"
    else:
        summary = findings[0].message
    return CheckResult(NAME, summary, tuple(findings), evidence)


def _unless(findings: list[Finding], reason: str) -> CheckResult:
    """What was found so far, or that there is nothing to look at."""
    if findings:
        return CheckResult(NAME, findings[0].message, tuple(findings), {"not_compared": reason})
    return CheckResult.not_applicable(NAME, reason)


class _Modes:
    """Copies of one model in its two modes.

    Attributes:
        norms: the normalisations with running statistics that follow in training mode, by name.
        frozen: names of those that stay in evaluation mode when the model is put in training mode.
        seen: for each of these, batch statistics at the last pass: mean, variance, count, and calls in a forward.
        passes: how many have settled the statistics.
    """

    def __init__(self, rehearsal: Rehearsal, seed: int) -> None:
        self.rehearsal, self.seed = rehearsal, seed
        self.model = copy.deepcopy(rehearsal.model)
        self.model.train()
        tracked = {
            name: module
            for name, module in self.model.named_modules()
            if isinstance(module, _NormBase) and module.track_running_stats and not isinstance(module, _InstanceNorm)
        }
        self.norms = {name: module for name, module in tracked.items() if module.training}
        self.frozen = [name for name, module in tracked.items() if not module.training]
        self.seen: dict[str, list[tuple[Tensor, Tensor, int]]] = {}
        self.passes = 0

    def settle(self) -> None:
        """Runs the model in training mode until statistics have forgotten where they began."""
        momenta = {name: module.momentum for name, module in self.norms.items()}
        for module in self.norms.values():
            module.reset_running_stats()
            if module.momentum:
                module.momentum = max(module.momentum, _SLOWEST)
        self.run(self.model)
        if self._moves():
            self.passes = _PASSES
            self.run(self.model, count=_PASSES)
        hooks = [module.register_forward_pre_hook(self._noted(name)) for name, module in self.norms.items()]
        self.run(self.model)
        for hook in hooks:
            hook.remove()
        for name, module in self.norms.items():
            module.momentum = momenta[name]

    def _moves(self) -> bool:
        """Whether running in training mode moves buffers or tensors among the attributes."""
        before = {id(t): (t, t.clone()) for t in _held(self.model)}
        self.run(self.model)
        now = list(_held(self.model))
        return any(id(t) not in before or not same_bits(t, before[id(t)][1]) for t in now)

    def _noted(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0].detach().double()
            dims = [d for d in range(x.dim()) if d != 1]
            count = x.numel() // max(x.shape[1], 1)
            entry = (x.mean(dims), x.var(dims, correction=1 if count > 1 else 0), count)
            self.seen.setdefault(name, []).append(entry)

        return note

    def run(self, model: nn.Module, *, count: int = 1, seed: int | None = None) -> Any:
        """The output of the last of `count` runs without dropout."""
        output = None
        for _ in range(count):
            torch.manual_seed(self.seed if seed is None else seed)
            with _Dropout(off=True):
                output = self.rehearsal.output(model=model)
        return output

    def trained(self) -> Any:
        """What the settled model returns in training mode, without dropout."""
        return self.run(self.in_training())

    def evaluated(self) -> Any:
        """What it returns in evaluation mode."""
        return self.run(self.in_evaluation())

    def in_training(self) -> nn.Module:
        """A copy in training mode."""
        made = copy.deepcopy(self.model)
        _without_own_dropout(made)
        return made

    def in_evaluation(self) -> nn.Module:
        """A copy in evaluation mode whose variances are divided by n, as in training mode."""
        made = copy.deepcopy(self.model)
        made.eval()
        for name, module in made.named_modules():
            if name in self.seen and isinstance(module, _NormBase) and module.running_var is not None:
                counts = {count for _, _, count in self.seen[name]}
                if len(counts) == 1:
                    count = counts.pop()
                    module.running_var.mul_((count - 1) / count)
        return made

    def in_evaluation_by_batch(self) -> nn.Module:
        """A copy in evaluation mode that normalises by the batch."""
        made = copy.deepcopy(self.model)
        made.eval()
        for name, module in made.named_modules():
            if name in self.norms:
                module.train()
        return made

    def is_noisy(self) -> bool:
        """Whether outputs depend on the seed in training mode, and not in evaluation mode."""
        training, evaluation = (
            _Difference.between(self.run(copy.deepcopy(model)), self.run(copy.deepcopy(model), seed=self.seed + 1))
            for model in (self.in_training(), self.in_evaluation())
        )
        return training is not None and not training.is_rounding and (evaluation is None or evaluation.is_rounding)

    def shift_of_mean(self) -> float:
        """How far the mean over noise is from what evaluation computes, in spreads, beyond what chance explains."""
        wanted = first_tensor(self.evaluated())
        if wanted is None or not wanted.is_floating_point():
            return 0.0
        model = self.in_training()
        drawn = [first_tensor(self.run(model, seed=self.seed + k)) for k in range(_DRAWS)]
        same = [t.double() for t in drawn if t is not None and t.shape == wanted.shape]
        if len(same) < _DRAWS:
            return 0.0
        stack = torch.stack(same)
        by_chance = float(stack.var(0).mean()) / _DRAWS
        off = float((stack.mean(0) - wanted.double()).square().mean())
        return math.sqrt(max(off - by_chance, 0.0)) / spread(wanted)


def _held(model: nn.Module) -> Iterator[Tensor]:
    yield from model.buffers()
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))


def _without_own_dropout(model: nn.Module) -> None:
    """Switches off the dropout of layers that do not call a function for it."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            module.dropout = 0.0


@dataclass(frozen=True)
class _Difference:
    """How far two outputs are apart.

    Attributes:
        size: root mean square, as a share of the spread of the first; the largest of all outputs.
        name: of the output.
        is_rounding: whether it is no more than rounding.
    """

    size: float
    name: str
    is_rounding: bool
    pair: tuple[Tensor, Tensor] | None = None

    @classmethod
    def between(cls, a: Any, b: Any) -> _Difference | None:
        """The largest one; None if there is nothing to compare."""
        ours, theirs = dict(named_tensors(a)), dict(named_tensors(b))
        if list(ours) != list(theirs):
            one, other = first_tensor(a), first_tensor(b)
            if one is None or other is None or one.shape != other.shape:
                return None
            ours, theirs = {"output": one}, {"output": other}
        worst: _Difference | None = None
        for name, tensor in ours.items():
            other = theirs[name]
            if other.shape != tensor.shape or not tensor.numel():
                return None
            change = changes(tensor, other)
            size = float(change.square().mean().sqrt()) / spread(tensor)
            if worst is None or size > worst.size:
                rounding = float(change.max()) <= 10 * rounding_of(tensor.dtype) * spread(tensor)
                worst = cls(size, name, rounding, (tensor, other))
        return worst


class _Dropout(TorchFunctionMode):
    """A context that notes dropout and batch statistics, or switches dropout off."""

    def __init__(self, *, off: bool) -> None:
        super().__init__()
        self.off = off
        self.active: list[tuple[str, float, CallSite | None]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = name_of(func).rpartition(".")[2].rstrip("_")
        if name in _DROPOUTS:
            given = dict(zip(("input", "p", "training", "inplace"), args, strict=False)) | kwargs
            p = float(given.get("p", 0.5))
            if given.get("training", given.get("train", True)) and p > 0:
                if self.off:
                    return given["input"]
                self.active.append((name, p, line_in_model()))
        elif name == "scaled_dot_product_attention" and float(kwargs.get("dropout_p", args[4] if len(args) > 4 else 0)):
            if self.off:
                kwargs = {**kwargs, "dropout_p": 0.0} if "dropout_p" in kwargs else kwargs
                args = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args
            else:
                self.active.append((name, float(kwargs.get("dropout_p", 0.5)), line_in_model()))
        elif name == "batch_norm" and not self.off:
            keys = ("input", "running_mean", "running_var", "weight", "bias", "training")
            given = dict(zip(keys, args, strict=False)) | kwargs
            if given.get("training") and given.get("running_mean") is not None:
                self.active.append((name, 0.0, line_in_model()))
        return func(*args, **kwargs)


_DROPOUTS: Final = frozenset(
    {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"}
)


# ---------------------------------------------------------------------- findings


def _active_in_evaluation(modes: _Modes) -> Iterator[Finding]:
    """Dropout and batch statistics that stay on in evaluation mode."""
    model = copy.deepcopy(modes.rehearsal.model)
    model.eval()
    torch.manual_seed(modes.seed)
    seen = _Dropout(off=False)
    with seen:
        modes.rehearsal.output(model=model)
    told = set()
    for name, p, site in seen.active:
        if (name, site) in told:
            continue
        told.add((name, site))
        is_norm = name == "batch_norm"
        yield Finding(
            "train-mode-in-eval",
            Severity.WARNING,
            f"{name} is active in evaluation mode"
            + (", with the statistics of the batch" if is_norm else f", with p = {p:g}"),
            Location(file=site.file, line=site.line) if site else Location(),
            cause="F.dropout drops by default: it does not know the mode of the model."
            if not is_norm
            else "The module is in a plain list, where model.eval() does not reach it, or training=True is fixed.",
            remedy="F.dropout(x, p, training=self.training), or an nn.Dropout that is an attribute of the module."
            if not is_norm
            else "Keep modules as attributes or in nn.ModuleList; pass training=self.training.",
        )


def _statistics(modes: _Modes, max_momentum: float) -> Iterator[Finding]:
    """Normalisations whose running statistics do not come to be those of the batches."""
    for name, module in modes.norms.items():
        seen = modes.seen.get(name)
        if not seen or module.running_mean is None or module.running_var is None:
            continue
        where = Location(module=name or type(module).__name__)
        if len(seen) > 1 and min(count for _, _, count in seen) < _ENOUGH:
            continue
        shift, ratio = _off(module.running_mean, module.running_var, seen)
        never = module.momentum == 0
        evidence: dict[str, Evidence] = {
            "momentum": module.momentum,
            "shift_in_deviations": shift,
            "ratio_of_variances": ratio,
            "calls_in_a_forward": len(seen),
        }
        if shift > 0.5 or ratio > 2.0:
            yield Finding(
                CODE,
                Severity.WARNING,
                f"{where.module} evaluates with other statistics than it is trained with: after {modes.passes} passes "
                f"means are off by up to {shift:.2g} deviations, variances by a factor of up to {ratio:.2g}"
                + (" (momentum=0: they never move)" if never else ""),
                where,
                evidence=evidence,
                cause="momentum=0 keeps the statistics at their start: torch's momentum is the weight of the new batch."
                if never
                else f"It is called {len(seen)} times in a forward, with inputs that are distributed differently."
                if len(seen) > 1
                else "Something overwrites or resets the running statistics.",
                remedy="momentum=0.1, the default, or None for the average of all batches."
                if never
                else "One normalisation for each place, or GroupNorm or LayerNorm."
                if len(seen) > 1
                else "Leave running_mean and running_var to the module.",
            )
        elif module.momentum is not None and module.momentum > max_momentum:
            yield Finding(
                CODE,
                Severity.INFO,
                f"{where.module} has momentum={module.momentum:g}: its running statistics are those of the last batch",
                where,
                evidence={**evidence, "limit": max_momentum},
                cause="torch's momentum is the weight of the new batch, Keras' that of the old average.",
                remedy=f"momentum={1 - module.momentum:.2g}, if an average over many batches is wanted.",
            )


def _off(mean: Tensor, variance: Tensor, seen: list[tuple[Tensor, Tensor, int]]) -> tuple[float, float]:
    """By how many deviations running means, and by what factor running variances, are off those of the batches.

    Of one call in a forward, the worst channel: the two should be equal. Of several, the root mean square over
    channels, for the worst call: their statistics differ by chance.
    """
    shift, scale = 0.0, 0.0
    for own_mean, own_variance, _ in seen:
        # A channel that is all but constant has no variance to speak of.
        varies = own_variance > 1e-6 * own_variance.max().clamp_min(1e-6)
        if not bool(varies.any()):
            continue
        shifts = ((mean.double() - own_mean).abs() / own_variance.sqrt())[varies]
        scales = (variance.double() / own_variance).clamp_min(1e-12).log().abs()[varies]
        if len(seen) > 1:
            shifts, scales = shifts.square().mean().sqrt(), scales.square().mean().sqrt()
        shift, scale = max(shift, float(shifts.max())), max(scale, float(scales.max()))
    return shift, math.exp(scale)


def _shifted(shift: float) -> Finding:
    return Finding(
        CODE,
        Severity.INFO,
        f"with the noise of training mode, outputs are off by {shift:.2g} of their spread in the mean",
        evidence={"mean_with_noise_off_by": shift, "limit": _SHIFT},
        cause="Dropout of one's own that does not divide by 1 - p, or a strong noise before a nonlinearity.",
        remedy="x * mask / (1 - p), or nn.Dropout.",
    )


def _explained(modes: _Modes, difference: _Difference, limit: float) -> Iterator[Finding]:
    """Why both modes differ, though statistics have settled and dropout is off."""
    by_batch = _Difference.between(modes.run(modes.in_evaluation_by_batch()), modes.trained())
    assert difference.pair is not None
    evidence: dict[str, Evidence] = {
        "difference_in_spreads": difference.size,
        "limit": limit,
        "output": difference.name,
        "with_batch_statistics_in_both": by_batch.size if by_batch is not None else None,
    }
    if (meant := _as_wanted(*difference.pair)) is not None:
        yield Finding(
            CODE,
            Severity.INFO,
            f"evaluation mode puts out the {meant} of what training mode does",
            evidence=evidence,
            cause="A branch on self.training.",
            remedy="Nothing, if the loss is given what training mode puts out.",
        )
        return
    call, other = _where_they_part(modes)
    site = call.site if call is not None else None
    seen = f": they part at {call.name}" + (f", where the other calls {other}" if other else "") if call else ""
    yield Finding(
        CODE,
        Severity.WARNING,
        f"without dropout, and with settled statistics, outputs of both modes differ by {difference.size:.2g} of their "
        f"spread{seen}",
        Location(file=site.file, line=site.line) if site else Location(),
        evidence=evidence,
        cause="A branch on self.training that changes what is computed; dropout of one's own that does not rescale; "
        "running statistics of one's own that do not follow.",
        remedy="Compute the same in both modes, but for noise; scale noise so that its mean is what evaluation mode "
        "computes.",
    )


def _as_wanted(evaluated: Tensor, trained: Tensor) -> str | None:
    """The function that evaluation mode is known to apply to what training mode puts out; None if it is none."""
    options: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "exponential": torch.exp}
    for dim in range(trained.dim()):
        options[f"softmax along dimension {dim}"] = lambda x, d=dim: x.softmax(d)  # type: ignore[misc]
        options[f"log-softmax along dimension {dim}"] = lambda x, d=dim: x.log_softmax(d)  # type: ignore[misc]
    if not trained.is_floating_point():
        return None
    for name, function in options.items():
        found = _Difference.between(evaluated, function(trained))
        if found is not None and found.size < 0.05:
            return name
    return None


def _where_they_part(modes: _Modes) -> tuple[Call | None, str]:
    """The first call that differs between the modes: by name, or by far in its result."""
    model, other = modes.in_training(), modes.in_evaluation_by_batch()
    training, evaluation = (_without_dropout(traced(lambda m=m: modes.run(m))) for m in (model, other))  # type: ignore[misc]
    for ours, theirs in zip(training, evaluation, strict=False):
        if ours.name != theirs.name or ours.site != theirs.site:
            return ours, theirs.name
        for a, b in zip(ours.results, theirs.results, strict=False):
            found = _Difference.between(a, b)
            if found is not None and found.size > 0.01 and a.is_floating_point():
                return ours, ""
    longer = training if len(training) > len(evaluation) else evaluation
    rest = longer[min(len(training), len(evaluation)) :]
    return (rest[0], "") if rest else (None, "")


def _without_dropout(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.name.rpartition(".")[2].rstrip("_") not in _DROPOUTS]
