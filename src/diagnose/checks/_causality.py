"""causality: does the output at one place of a sequence depend on what comes after it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from diagnose.checks._rehearsal import Batch, Inputs, Rehearsal
from diagnose.checks._result import CheckResult
from diagnose.checks._tensors import changes, moved, named_tensors, spread
from diagnose.checks._trace import Call, first_reached, traced
from diagnose.collect.nested import tensors_in
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "causality"
_SHORTEST: Final = 3
_NEXT: Final = 0.95
"""Share of the targets that must be the next inputs for them to count as such; the rest may be padding. As in the rule
target-leakage."""
_MASKS: Final = ("mask", "position", "token_type", "length", "labels")


def causality(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    time_dim: int | None = None,
    cuts: int | Sequence[int] = 4,
    required: bool | None = True,
    seed: int = 0,
) -> CheckResult:
    """Whether no output at place t of a sequence depends on inputs after t, in evaluation mode.

    For several cuts, everything from the cut on is replaced; outputs before it may not change. Sequences are tokens
    (integers, as (batch, time)) or vectors ((batch, time, features), time first, or (batch, channels, time)). If the
    model takes several sequences, each is replaced on its own; where one may be looked at from end to end (the source
    of a translation) and another may not, only the latter counts.

    Args:
        model, inputs, targets: as for a training step.
        time_dim: the dimension of the places in inputs; by default found out from shapes and from what mixes.
        cuts: how many, spread over the sequence with the second and the last place among them; or which places.
        required: True: a model that looks ahead is at fault. None: only if its targets are its next inputs; else
            looking ahead is an `info`, for a tagger or an encoder may.
        seed: of random numbers that the model draws and of what is put in.

    Returns:
        Not applicable: no sequence of three places or more, or no output with a place for each of its places.

    Raises:
        CheckError: the model raises, or cannot be copied.
        ValueError: a cut lies outside of the sequence.

    Source:
        Karpathy, "A Recipe for Training Neural Networks", 2019: dependencies on the future show where changes go. No
        earlier place may change, by more than 1e-4 of the spread of all outputs (float32), which is far above rounding.
    """
    with Rehearsal(model, inputs, targets, seed=seed) as rehearsal:
        rehearsal.model.eval()
        base = [(n, t.detach().clone()) for n, t in named_tensors(rehearsal.output()) if t.numel()]
        rehearsal.restart()
        again = [t for _, t in named_tensors(rehearsal.output()) if t.numel()]
        if any(a.shape != b.shape or bool(moved(a, b).any()) for (_, a), b in zip(base, again, strict=False)):
            return CheckResult.not_applicable(NAME, "its outputs differ from one run to the next")
        probes = _probes(rehearsal, base, time_dim)
        if not probes:
            which = "" if time_dim is None else f" along dimension {time_dim}"
            return CheckResult.not_applicable(
                NAME, f"no output has a place for each place of an input of {_SHORTEST} or more{which}; give time_dim"
            )
        leaks = [leak for probe in probes if (leak := probe.look(cuts)) is not None]
        if not leaks:
            return CheckResult.not_applicable(NAME, "no output depends on the sequence")
    return _result(leaks, required, _predicts_next(leaks, rehearsal.batch.targets))


@dataclass
class _Leak:
    """What replacing the future of one input has done to outputs before the cut.

    Attributes:
        affected: largest share of the places before a cut whose outputs have changed.
        reach: how many places ahead the outputs are seen to look, at least.
    """

    probe: _Probe
    cuts: list[int]
    affected: float = 0.0
    change: float = 0.0
    reach: int = 0
    cut: int = 0
    output: str = ""
    call: Call | None = None


class _Probe:
    """One sequence among the inputs, and the outputs that have a place for each of its places."""

    def __init__(
        self, rehearsal: Rehearsal, name: str, sequence: Tensor, dim: int, outputs: list[tuple[str, Tensor, int]]
    ) -> None:
        self.rehearsal, self.name, self.sequence, self.dim, self.outputs = rehearsal, name, sequence, dim, outputs
        self.length = sequence.shape[dim]

    def look(self, cuts: int | Sequence[int]) -> _Leak | None:
        """The worst leak; None if the outputs do not depend on this input."""
        places = _places(self.length, cuts)
        leak, depends = _Leak(self, places), False
        for cut in places:
            batch = self._with_other_future(cut)
            self.rehearsal.restart()
            after = dict(named_tensors(self.rehearsal.output(batch)))
            for name, before, along in self.outputs:
                now = after.get(name)
                if now is None or now.shape != before.shape:
                    continue
                change = _by_place(moved(before, now), along)
                depends |= bool(change.any())
                early = change[:cut]
                share = float(early.float().mean())
                if share > leak.affected:
                    size = changes(before, now).movedim(along, 0)[:cut].nan_to_num(posinf=0.0).max()
                    leak.affected, leak.cut, leak.output = share, cut, name
                    leak.change = float(size) / spread(before)
                    leak.reach = cut - int(early.nonzero()[0])
        if leak.affected:
            leak.call = self._first_call(leak.cut)
        return leak if depends else None

    def _with_other_future(self, cut: int) -> Batch:
        other = _other_values(self.sequence)
        changed = self.sequence.detach().clone()
        future = self.length - cut
        changed.narrow(self.dim, cut, future).copy_(other.narrow(self.dim, cut, future))
        batch = self.rehearsal.batch
        return Batch(batch.args, batch.kwargs).map(lambda tensor: changed if tensor is self.sequence else tensor)

    def _first_call(self, cut: int) -> Call | None:
        def run(batch: Batch | None) -> list[Call]:
            self.rehearsal.restart()
            return traced(lambda: self.rehearsal.output(batch))

        def reaches(before: Tensor, after: Tensor) -> bool:
            change = moved(before, after)
            return bool(change.any()) and not any(
                before.shape[d] == self.length and not bool(_by_place(change, d)[:cut].any())
                for d in range(before.dim())
            )

        # What holds queries and keys at once has a place for each in two dimensions: scores[:, t, s] may change for s
        # behind the cut. It is right as far as one of the two does; the mask comes later.
        return first_reached(run(None), run(self._with_other_future(cut)), reaches)

    def mixes(self) -> bool:
        """Whether changing one place changes an output at another one."""
        middle = self.length // 2
        changed = self.sequence.detach().clone()
        changed.select(self.dim, middle).copy_(_other_values(self.sequence).select(self.dim, middle))
        batch = Batch(self.rehearsal.batch.args, self.rehearsal.batch.kwargs)
        self.rehearsal.restart()
        after = dict(named_tensors(self.rehearsal.output(batch.map(lambda t: changed if t is self.sequence else t))))
        for name, before, along in self.outputs:
            if name in after and after[name].shape == before.shape:
                change = _by_place(moved(before, after[name]), along)
                if bool(change.any()) and int(change.sum()) > int(change[middle : middle + 1].sum()):
                    return True
        return False


def _probes(rehearsal: Rehearsal, base: list[tuple[str, Tensor]], time_dim: int | None) -> list[_Probe]:
    found = []
    batch = rehearsal.batch
    positional = (pair for i, value in enumerate(batch.args) for pair in named_tensors(value, f"input {i}"))
    keyword = (pair for key, value in batch.kwargs.items() for pair in named_tensors(value, key))
    for name, sequence in (*positional, *keyword):
        if any(word in name for word in _MASKS) or _is_mask(sequence):
            continue
        dims = _dims(sequence, rehearsal.model, time_dim)
        options = [p for dim in dims if (p := _probe(rehearsal, name, sequence, dim, base, 0)) is not None]
        # Models that compute their own loss may leave out what the last place predicts.
        options = options or [p for dim in dims if (p := _probe(rehearsal, name, sequence, dim, base, 1)) is not None]
        if len(options) > 1:
            # Nothing mixes along a dimension that counts examples, or features of their own.
            options = [probe for probe in options if _mixes(probe)] or options
        found += options[:1]
    return found


def _mixes(probe: _Probe) -> bool:
    try:
        return probe.mixes()
    except CheckError:
        return False


def _dims(sequence: Tensor, model: nn.Module, time_dim: int | None) -> list[int]:
    """Dimensions along which places may lie, the likeliest first."""
    if time_dim is not None:
        dim = time_dim + sequence.dim() if time_dim < 0 else time_dim
        return [dim] if dim < sequence.dim() else []
    if sequence.dim() == 2 and not sequence.is_floating_point():
        return [1, 0]
    if sequence.dim() != 3:
        return []
    kinds = [type(m) for m in model.modules()]
    convolutional = nn.Conv1d in kinds and not any(issubclass(k, nn.RNNBase | nn.MultiheadAttention) for k in kinds)
    return [2, 1, 0] if convolutional else [1, 2, 0]


def _probe(
    rehearsal: Rehearsal, name: str, sequence: Tensor, dim: int, base: list[tuple[str, Tensor]], short: int
) -> _Probe | None:
    length = sequence.shape[dim]
    if length < _SHORTEST:
        return None
    outputs = []
    for path, output in base:
        along = _along(output, sequence, dim, short)
        if along is not None:
            outputs.append((path, output, along))
    return _Probe(rehearsal, name, sequence, dim, outputs) if outputs else None


def _along(output: Tensor, sequence: Tensor, dim: int, short: int) -> int | None:
    """The dimension of an output that has a place for each place of the sequence but the last `short` ones."""
    if output.dim() < 2:
        return None
    others = [n for d, n in enumerate(sequence.shape[:2]) if d != dim][:1]  # how many examples there are
    # Where it was, then before classes, then last, as cross_entropy wants it.
    for along in dict.fromkeys((dim, 1, output.dim() - 1, 0)):
        if along >= output.dim() or output.shape[along] != sequence.shape[dim] - short:
            continue
        rest = [n for d, n in enumerate(output.shape) if d != along]
        if not others or others[0] in rest:
            return along
    return None


def _is_mask(tensor: Tensor) -> bool:
    """Whether it is no content: truth values, zeros and ones, or 0, 1, 2, ..."""
    if tensor.dtype == torch.bool or tensor.dim() < 2:
        return True
    if tensor.is_floating_point():
        if tensor.dim() == 2 and tensor.shape[0] == tensor.shape[1]:
            return bool(((tensor == 0) | (tensor == -torch.inf) | (tensor == 1)).all())
        return False
    places = torch.arange(tensor.shape[-1], device=tensor.device)
    return bool((tensor == places).all()) or bool((tensor == 1).all())


def _other_values(sequence: Tensor) -> Tensor:
    """Values of the same kind, each of them another one where there are others."""
    if sequence.is_floating_point():
        return sequence.detach() + spread(sequence) * (1 + torch.rand_like(sequence))
    values = sequence.unique()
    if len(values) < 2:
        return (sequence - 1).abs() if int(values[0]) else sequence + 1
    rank = torch.searchsorted(values, sequence)
    other: Tensor = values[(rank + 1 + torch.randint_like(rank, len(values) - 1)) % len(values)]
    return other


def _by_place(change: Tensor, along: int) -> Tensor:
    return change.movedim(along, 0).reshape(change.shape[along], -1).any(1)


def _places(length: int, cuts: int | Sequence[int]) -> list[int]:
    """Where sequences are cut: the first place that is replaced."""
    if not isinstance(cuts, int):
        if wrong := [cut for cut in cuts if not 0 < cut < length]:
            raise ValueError(f"cut {wrong[0]} lies outside of a sequence of {length}: it has to be 1 to {length - 1}")
        return sorted(set(cuts))
    count = max(min(cuts, length - 1), 1)
    return sorted({1 + round(k * (length - 2) / max(count - 1, 1)) for k in range(count)})


def _predicts_next(leaks: list[_Leak], targets: Any) -> bool:
    """Whether the targets are the inputs moved by one place."""
    for probe in (leak.probe for leak in leaks):
        following = probe.sequence.narrow(probe.dim, 1, probe.length - 1)
        for target in tensors_in(targets):
            if target.shape == probe.sequence.shape:
                target = target.narrow(probe.dim, 0, probe.length - 1)
            if target.shape != following.shape:
                continue
            used = target != -100
            if bool(used.any()) and float((target == following)[used].float().mean()) >= _NEXT:
                return True
    return False


def _result(leaks: list[_Leak], required: bool | None, predicts_next: bool) -> CheckResult:
    guilty = [leak for leak in leaks if leak.affected]
    worst = max(leaks, key=lambda leak: leak.affected)
    evidence: dict[str, Evidence] = {
        "places": worst.probe.length,
        "time_dim": worst.probe.dim,
        "cuts": [*worst.cuts],
        "affected_share": worst.affected,
        "limit": 0,
        "sequences": [leak.probe.name for leak in leaks],
    }
    if not guilty:
        cuts = ", ".join(map(str, worst.cuts))
        return CheckResult(
            NAME, f"no output depends on a later place of {worst.probe.length} (cuts {cuts})", (), evidence
        )
    is_fault = (required or (required is None and predicts_next)) and len(guilty) == len(leaks)
    findings = tuple(_finding(leak, bool(is_fault), len(guilty) < len(leaks)) for leak in guilty)
    ahead = ", ".join(leak.probe.name for leak in guilty)
    summary = (
        f"{worst.affected:.0%} of the outputs before place {worst.cut} depend on it or later"
        if is_fault
        else f"{ahead} may be looked at from end to end, as far as is known"
    )
    return CheckResult(NAME, summary, findings, evidence)


def _finding(leak: _Leak, is_fault: bool, has_others: bool) -> Finding:
    seen = f"; {leak.call.name} is the first call that lets them" if leak.call is not None else ""
    site = leak.call.site if leak.call is not None else None
    meant = (
        "Nothing, if this is the input of an encoder; the other sequences are not looked at ahead of time."
        if has_others
        else "Nothing, if the model may look ahead (an encoder, a tagger)."
    )
    return Finding(
        "target-leakage",
        Severity.ERROR if is_fault else Severity.INFO,
        f"replacing {leak.probe.name} from place {leak.cut} of {leak.probe.length} on changes {leak.affected:.0%} of "
        f"the outputs before it, up to {leak.reach} place(s) back{seen}",
        Location(file=site.file, line=site.line) if site else Location(),
        evidence={
            "affected_share": leak.affected,
            "limit": 0,
            "cut": leak.cut,
            "places": leak.probe.length,
            "largest_change_in_spreads": leak.change,
            "output": leak.output,
        },
        cause="The mask of the future is missing, is inverted, or is off by one; a layer looks both ways, or "
        "normalises or averages over time.",
        remedy="Mask the future in every layer that mixes places; pad convolutions on the left only."
        if is_fault
        else meant,
    )
