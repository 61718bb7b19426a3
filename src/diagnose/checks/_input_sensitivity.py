"""input_sensitivity: does every input matter, and do the outputs differ?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from diagnose.checks._rehearsal import Batch, Inputs, first_tensor
from diagnose.checks._result import CheckResult
from diagnose.checks._trial import Trial
from diagnose.collect.nested import mapped, tensors_in
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "input-sensitivity"
JITTER: Final = 0.02
"""Noise on the parameters, relative to their size, that wakes heads and branches which begin at zero."""
FEATURES_MAX: Final = 4096
"""Columns of one input; of more, those without a gradient are not looked at one by one."""


def input_sensitivity(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    alike: float = 1e-6,
    seed: int = 0,
) -> CheckResult:
    """Whether the outputs differ from example to example, and change when any of the inputs is changed.

    Each tensor among the inputs gets the values of other examples; numbers among a hundred features (or channels) do,
    too, one feature at a time where the gradient says that it plays no part. Dropout is off and random numbers are the
    same in each run. What matters only after a little noise on the parameters (a head that begins at zero) counts as
    mattering.

    Args:
        targets: not used; here so that all checks are called alike.
        alike: largest difference of outputs, relative to their largest value, that is none. Rounding in float32
            leaves 1e-7.
        seed: of the noise and of what the model draws.

    Raises:
        CheckError: the model raises.

    Source:
        Karpathy, "A Recipe for Training Neural Networks", 2019 ("input-independent baseline", "use backprop to chart
        dependencies").
    """
    with Trial(model, inputs, targets, dropout=False, seed=seed) as trial:
        look = _Look(trial, alike)
        if not look.outputs:
            return CheckResult.not_applicable(NAME, "the model returns no floating point numbers")
        if look.differs is None:
            return CheckResult.not_applicable(NAME, "all examples of the batch are the same, or there is only one")
        findings, evidence = [], look.evidence()
        if not look.differs:
            findings.append(_constant(look))
        else:
            findings += [_ignored(slot) for slot in look.slots if slot.matters is False]
            findings += [_features(slot) for slot in look.slots if slot.matters and slot.unused]
    judged = [slot for slot in look.slots if slot.matters is not None]
    mattering = sum(bool(slot.matters) for slot in judged)
    summary = (
        f"{mattering} of {len(judged)} inputs matter" if look.differs else "the outputs are the same for all inputs"
    )
    if unused := sum(len(slot.unused) for slot in judged):
        summary += f", without {unused} features" if unused > 1 else ", without 1 feature"
    return CheckResult(NAME, summary, tuple(findings), evidence)


@dataclass
class _Slot:
    """One tensor among the inputs.

    Attributes:
        matters: whether another value changes the outputs; None if there was no other value to try.
        features: how many columns (or channels) it has; unused are those that change nothing.
    """

    name: str
    tensor: Tensor
    matters: bool | None = None
    features: int = 0
    unused: tuple[int, ...] = ()


class _Look:
    """What comes out when inputs are changed."""

    def __init__(self, trial: Trial, alike: float) -> None:
        self.trial = trial
        self.alike = alike
        self.batch = trial.batch
        self.outputs = self._run(self.batch)
        self.differs: bool | None = None
        self.spread = 0.0
        self.slots = [_Slot(name, tensor) for name, tensor in _named(self.batch)]
        if not self.outputs:
            return
        self._judge()
        if self.differs is False or any(slot.matters is False or slot.unused for slot in self.slots):
            self._judge_with_noise()

    def _judge_with_noise(self) -> None:
        """Once more, with noise on the parameters: what matters then, matters."""
        before, first = self.differs, {slot.name: (slot.matters, slot.unused) for slot in self.slots}
        with self.trial.moved(_noise(self.trial.rehearsal.model, self.trial), 1.0):
            self.outputs = self._run(self.batch)
            self._judge()
        self.differs = before or self.differs
        for slot in self.slots:
            matters, unused = first[slot.name]
            slot.matters = slot.matters if matters is None else matters or slot.matters
            slot.unused = tuple(index for index in slot.unused if matters is False or index in unused)

    def _judge(self) -> None:
        size = self.batch.size
        self.differs = self._changed({slot.name: _other(slot.tensor, size) for slot in self.slots})
        per_example = [output for output in self.outputs if output.dim() and output.shape[0] == size]
        if self.differs is not None and size is not None and size > 1 and per_example:
            # Outputs that follow the batch as a whole, and are the same for all examples, tell none apart.
            self.spread = max(float((o - o[:1]).abs().max() / o.abs().max().clamp(min=1e-30)) for o in per_example)
            self.differs = self.spread > self.alike
        for slot in self.slots:
            slot.matters = self._changed({slot.name: _other(slot.tensor, size)})
            slot.unused = self._unused(slot) if slot.matters else ()

    def _unused(self, slot: _Slot) -> tuple[int, ...]:
        """Features that neither have a gradient nor change anything when they get other values."""
        tensor = slot.tensor
        if not tensor.is_floating_point() or tensor.dim() < 2:
            return ()
        dim = 1 if tensor.dim() >= 4 else tensor.dim() - 1
        slot.features = tensor.shape[dim]
        if not 1 < slot.features <= FEATURES_MAX:
            return ()
        gradient = self._gradient(slot)
        if gradient is None:
            return ()
        others = [d for d in range(tensor.dim()) if d != dim]
        silent = (gradient.abs().sum(others) == 0).nonzero()[:, 0].tolist()
        if not silent:
            return ()
        if self._with_columns(slot, silent, dim) is False:
            return tuple(silent)
        return tuple(index for index in silent[:64] if self._with_columns(slot, [index], dim) is False)

    def _with_columns(self, slot: _Slot, columns: list[int], dim: int) -> bool | None:
        changed = slot.tensor.clone()
        index = torch.tensor(columns)
        part = slot.tensor.index_select(dim, index)
        other = _other(part, self.batch.size)
        scale = part.std() if part.numel() > 1 and float(part.std()) > 0 else torch.tensor(1.0)
        changed.index_copy_(dim, index, part + scale if other is None else other + scale)
        return self._changed({slot.name: changed})

    def _gradient(self, slot: _Slot) -> Tensor | None:
        leaf = slot.tensor.detach().clone().requires_grad_()
        try:
            outputs = self._run(_with(self.batch, {slot.name: leaf}), graph=True)
            generator = torch.Generator().manual_seed(0)
            terms = [(o * torch.randn(o.shape, generator=generator).to(o)).sum() for o in outputs if o.requires_grad]
            if not terms:
                return None
            (gradient,) = torch.autograd.grad(torch.stack(terms).sum(), leaf, allow_unused=True)
        except RuntimeError:
            return None
        return torch.zeros_like(leaf) if gradient is None else gradient

    def _run(self, batch: Batch, *, graph: bool = False) -> list[Tensor]:
        """The numbers that come out, a loss included."""
        self.trial.rehearsal.restart()
        with torch.set_grad_enabled(graph):
            output = self.trial.rehearsal.output(batch)
        tensors = [*tensors_in(output), first_tensor(output), getattr(output, "loss", None)]
        found: dict[int, Tensor] = {}
        for tensor in tensors:
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
                found.setdefault(id(tensor), tensor)
        return list(found.values())

    def _changed(self, values: Mapping[str, Tensor | None]) -> bool | None:
        """Whether the outputs change with these inputs; None if they are the inputs there are."""
        given = {name: value for name, value in values.items() if value is not None}
        if not given:
            return None
        outputs = self._run(_with(self.batch, given))
        if [o.shape for o in outputs] != [o.shape for o in self.outputs]:
            return True
        return any(self._differ(output, before) for output, before in zip(outputs, self.outputs, strict=True))

    def _differ(self, output: Tensor, before: Tensor) -> bool:
        return not bool(((output - before).abs() <= self.alike * before.abs().max()).all())

    def evidence(self) -> dict[str, Evidence]:
        return {
            "output_spread": self.spread,
            "limit": self.alike,
            "inputs": {slot.name: slot.matters for slot in self.slots},
            "unused_features": {slot.name: list(slot.unused[:100]) for slot in self.slots if slot.unused},
        }


def _named(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    """The tensors among the inputs, with names."""
    for place, value in [*enumerate(batch.args), *batch.kwargs.items()]:
        tensors = list(tensors_in(value))
        for index, tensor in enumerate(tensors):
            name = f"input {place}" if isinstance(place, int) else str(place)
            yield f"{name}[{index}]" if len(tensors) > 1 else name, tensor


def _with(batch: Batch, values: Mapping[str, Tensor]) -> Batch:
    by_id = {id(tensor): values[name] for name, tensor in _named(batch) if name in values}
    args, kwargs = mapped((batch.args, dict(batch.kwargs)), lambda tensor: by_id.get(id(tensor), tensor))
    return replace(batch, args=args, kwargs=kwargs)


def _other(tensor: Tensor, size: int | None) -> Tensor | None:
    """Values of other examples, or noise if there is one example only; None if there are no other values."""
    if tensor.dim() and tensor.shape[0] == size and size > 1:
        for shift in range(1, min(size, 9)):
            rolled = tensor.roll(shift, 0)
            if not torch.equal(rolled, tensor):
                return rolled
        return None
    if size == 1 and tensor.is_floating_point() and tensor.dim():
        noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor)
        scale = tensor.std() if tensor.numel() > 1 else tensor.abs().max()
        return tensor.detach() + noise * (scale if float(scale) > 0 else 1.0)
    return None


def _noise(model: nn.Module, trial: Trial) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    noise = {}
    for name, parameter in trial.trainable.items():
        if not parameter.is_floating_point():
            continue
        size = float(parameter.detach().abs().mean())
        drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
        noise[name] = drawn * (JITTER * size if size else JITTER)
    return noise


def _constant(look: _Look) -> Finding:
    return Finding(
        "constant-output",
        Severity.ERROR,
        "the outputs are the same whatever the inputs are",
        evidence={"output_spread": look.spread, "limit": look.alike},
        cause="The inputs are overwritten or left out on the way, units are dead, or a softmax or a mean over the "
        "wrong dimension makes all outputs equal.",
        remedy="Compare two examples layer by layer: the first layer whose outputs are equal is where to look.",
    )


def _ignored(slot: _Slot) -> Finding:
    return Finding(
        "input-ignored",
        Severity.WARNING,
        f"{slot.name} does not matter: the outputs stay the same with the values of other examples",
        Location(module=slot.name),
        evidence={"input": slot.name, "shape": list(slot.tensor.shape)},
        cause="It is not used in forward, is overwritten, or is multiplied by zero.",
        remedy="Follow it through forward; leave it out if it is not meant to matter.",
    )


def _features(slot: _Slot) -> Finding:
    first = ", ".join(map(str, slot.unused[:8])) + (", ..." if len(slot.unused) > 8 else "")
    kind = "channels" if slot.tensor.dim() >= 4 else "features"
    return Finding(
        "input-ignored",
        Severity.WARNING,
        f"{len(slot.unused)} of {slot.features} {kind} of {slot.name} do not matter: {first}",
        Location(module=slot.name),
        evidence={"input": slot.name, "unused": list(slot.unused[:100]), "features": slot.features},
        cause="A slice that leaves them out, a mask, or weights of exactly zero.",
        remedy="Look at how forward takes the input apart.",
    )
