"""device_and_dtype_transfer: does a model follow when it is moved to another type or device?"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from diagnose.checks._rehearsal import Batch, Inputs, Rehearsal
from diagnose.checks._result import CheckResult
from diagnose.checks._tensors import largest_change, named_tensors
from diagnose.checks._trace import line_in_model, name_of
from diagnose.collect.callsite import CallSite
from diagnose.collect.nested import tensors_in
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "device-and-dtype-transfer"
DTYPES: Final = (torch.float64, torch.bfloat16, torch.float16)
_FAR: Final = 0.05
_ANYWHERE: Final = ("getitem", "setitem", "index_put", "pack_padded_sequence")
"""Functions that take tensors on the CPU beside tensors on another device."""
_COMBINES: Final = frozenset(
    {"matmul", "mm", "bmm", "addmm", "baddbmm", "linear", "einsum", "cat", "stack", "add", "sub", "mul", "div"}
    | {"multi_head_attention_forward", "scaled_dot_product_attention"}
)
"""Functions whose tensors have to be on one device, though not all of them say so on the meta device."""
_NO_CUDA: Final = ("not compiled with CUDA", "No CUDA GPUs", "no NVIDIA driver", "CUDA driver initialization failed")


def device_and_dtype_transfer(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    dtypes: Sequence[torch.dtype] = DTYPES,
    devices: Sequence[str] | None = None,
    seed: int = 0,
) -> CheckResult:
    """Whether a copy of the model runs in other floating point types and on other devices, inputs moved along.

    Where it does not, because one operation is given tensors of two types or on two devices, the finding names the line
    that made the one that did not follow (`torch.zeros(n)` without `dtype=` and `device=`), or the plain attribute that
    holds it. What fails for other reasons (a kernel that is missing, a value that is needed where there are none) is
    told among the evidence.

    Args:
        model, inputs, targets: as for a training step; `targets` are not used.
        dtypes: floating point types that the model is cast to, except its own.
        devices: by default "meta", where shapes and devices are followed without computing, and "cuda", if there is
            one.
        seed: of random numbers.

    Returns:
        Findings hard-coded-dtype and hard-coded-device. Not applicable: nothing could be tried.

    Raises:
        CheckError: the model raises as it is, for another reason than a device that is not there.

    Source:
        PyTorch documentation, `nn.Module.register_buffer` and `Tensor.new_zeros`; "CUDA semantics".
    """
    with Rehearsal(model, inputs, targets, seed=seed) as rehearsal, torch.no_grad():
        rehearsal.model.eval()
        here = _Here.of(rehearsal)
        first = _Try(rehearsal, None, here.device)
        first.run()
        if first.error is not None:
            if first.failed is not None and any(words in str(first.error) for words in _NO_CUDA):
                finding = _absent_device(first)
                return CheckResult(NAME, finding.message, (finding,))
            raise first.error
        tries = [_Try(rehearsal, dtype, here.device) for dtype in _others(dtypes, here)]
        if devices is None:
            devices = ("meta", "cuda") if torch.cuda.is_available() else ("meta",)
        tries += [_Try(rehearsal, None, torch.device(d)) for d in devices if torch.device(d).type != here.device.type]
        findings: list[Finding] = []
        for attempt in tries:
            attempt.run()
            findings += attempt.findings(first)
    done = [attempt.name for attempt in tries if attempt.error is None]
    skipped = {attempt.name: attempt.why for attempt in tries if attempt.error is not None and not attempt.blamed}
    if not done and not findings:
        return CheckResult.not_applicable(NAME, "; ".join(f"{k}: {v}" for k, v in skipped.items()) or "nothing to try")
    evidence: dict[str, Evidence] = {"ran": [*done]}
    if skipped:
        evidence["not_judged"] = {**skipped}
    findings = _merged(findings)
    findings.sort(key=lambda finding: finding.severity.rank)
    failed = next((f for f in findings if f.severity.at_least(Severity.WARNING)), None)
    summary = failed.message if failed is not None else f"runs as {', '.join(done)}"
    return CheckResult(NAME, summary, tuple(findings), evidence)


@dataclass(frozen=True)
class _Here:
    """What the model is now."""

    dtype: torch.dtype | None
    device: torch.device

    @classmethod
    def of(cls, rehearsal: Rehearsal) -> _Here:
        held = [*rehearsal.model.parameters(), *rehearsal.model.buffers()]
        given = [*tensors_in((rehearsal.batch.args, rehearsal.batch.kwargs))]
        floats = [t for t in (*held, *given) if t.is_floating_point()]
        everything = [*held, *given]
        device = everything[0].device if everything else torch.device("cpu")
        return cls(floats[0].dtype if floats else None, device)


def _others(dtypes: Sequence[torch.dtype], here: _Here) -> list[torch.dtype]:
    return [dtype for dtype in dtypes if dtype != here.dtype] if here.dtype is not None else []


@dataclass(frozen=True)
class _Origin:
    """Where a tensor that did not follow comes from.

    Attributes:
        what: the call that made it, or the attribute that holds it.
        attribute: its qualified name; None if a call made it.
    """

    what: str
    site: CallSite | None = None
    attribute: str | None = None


class _Try:
    """One run of a copy in another type, or on another device."""

    def __init__(self, rehearsal: Rehearsal, dtype: torch.dtype | None, device: torch.device) -> None:
        self.rehearsal, self.dtype, self.device = rehearsal, dtype, device
        self.name = str(dtype).removeprefix("torch.") if dtype is not None else device.type
        self.error: CheckError | None = None
        self.failed: _Failure | None = None
        self.blamed = False
        self.output: Any = None
        self._followed: _Follower | None = None

    def run(self) -> None:
        """Runs it, and keeps what happened."""
        torch.manual_seed(0)
        try:
            model = copy.deepcopy(self.rehearsal.model)
            model = model.to(self.dtype) if self.dtype is not None else model.to(self.device)
            batch = self.rehearsal.batch
            batch = Batch(batch.args, batch.kwargs).map(self._moved)
        except Exception as error:
            self.error = CheckError(f"it cannot be moved: {error}")
            return
        self._followed = _Follower(model, self.dtype, self.device)
        try:
            with self._followed:
                self.output = self.rehearsal.output(batch, model=model)
        except CheckError as error:
            self.error, self.failed = error, self._followed.failure

    def _moved(self, tensor: Tensor) -> Tensor:
        if self.dtype is None:
            return tensor.to(self.device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    @property
    def why(self) -> str:
        """Why it did not run, in one line."""
        text = str(self.error.__cause__ or self.error) if self.error is not None else ""
        return next(iter(text.splitlines()), "")[:200]

    def findings(self, first: _Try) -> Iterator[Finding]:
        """What is at fault in this run; `first` is the run of the model as it is."""
        if self.error is None:
            yield from self._outputs(first)
            return
        origin = self._culprit()
        if origin is not None:
            self.blamed = True
            yield self._not_followed(origin)
        elif self.failed is not None and "without overflow" in str(self.error):
            self.blamed = True
            yield self._overflow(self.failed)

    def _culprit(self) -> _Origin | None:
        assert self._followed is not None or self.error is not None
        if self._followed is None:
            return None
        if self.failed is not None:
            if self.dtype is None and any(word in self.failed.name for word in _ANYWHERE):
                return None
            return self.failed.strangers[0] if self.failed.strangers else None
        # Modules look at types themselves before they call anything: the last stranger is what they were given.
        text = str(self.error)
        return self._followed.last_stranger if "dtype" in text or "device" in text else None

    def _not_followed(self, origin: _Origin) -> Finding:
        is_dtype = self.dtype is not None
        kind = "type" if is_dtype else "device"
        where = (
            Location(parameter=origin.attribute)
            if origin.attribute
            else Location(file=origin.site.file, line=origin.site.line)
            if origin.site
            else Location()
        )
        fails_at = f" ({self.failed.name} fails)" if self.failed is not None else ""
        return Finding(
            "hard-coded-dtype" if is_dtype else "hard-coded-device",
            Severity.WARNING,
            f"{origin.what} does not follow the model to {self.name}{fails_at}",
            where,
            evidence={"tried": [self.name], "error": self.why},
            cause="It is a plain attribute: .to() moves parameters and buffers only."
            if origin.attribute
            else f"A tensor is made, or cast, without regard to the {kind} of what it is combined with.",
            remedy=f"self.register_buffer({origin.attribute.rpartition('.')[2]!r}, ..., persistent=False)"
            if origin.attribute
            else f"x.new_zeros(...), torch.zeros_like(x), or {'dtype=x.dtype' if is_dtype else 'device=x.device'}.",
        )

    def _overflow(self, failure: _Failure) -> Finding:
        return Finding(
            "hard-coded-dtype",
            Severity.WARNING,
            f"a constant that {failure.name} is given is too large for {self.name}",
            Location(file=failure.site.file, line=failure.site.line) if failure.site else Location(),
            evidence={"tried": [self.name], "error": self.why},
            cause="A number such as -1e9 stands for minus infinity in a mask.",
            remedy="torch.finfo(x.dtype).min, or -inf.",
        )

    def _outputs(self, first: _Try) -> Iterator[Finding]:
        before, after = dict(named_tensors(first.output)), dict(named_tensors(self.output))
        for name, tensor in after.items():
            if not tensor.is_floating_point() or name not in before or before[name].shape != tensor.shape:
                continue
            if self.dtype == torch.float64 and tensor.dtype != torch.float64:
                origin = self._followed.origin_of(tensor) if self._followed is not None else None
                site = origin.site if origin is not None else None
                yield Finding(
                    "hard-coded-dtype",
                    Severity.INFO,
                    f"{name} is {str(tensor.dtype).removeprefix('torch.')} in a float64 model"
                    + (f", since {origin.what}" if origin is not None else ""),
                    Location(file=site.file, line=site.line) if site else Location(),
                    evidence={"tried": [self.name]},
                    cause="A cast to a fixed type.",
                    remedy="Nothing, if it is meant.",
                )
            if self.device.type not in ("meta", first.device.type):
                far = largest_change(before[name], tensor.to(before[name].device))
                if far > _FAR:
                    yield Finding(
                        "hard-coded-device",
                        Severity.WARNING,
                        f"{name} on {self.name} differs from that on {first.device.type} by {far:.2g} of its spread",
                        evidence={"largest_change_in_spreads": far, "limit": _FAR},
                        cause="A part was left behind, or computes another way there.",
                        remedy="Compare the layers' outputs on both devices one after another.",
                    )


@dataclass(frozen=True)
class _Failure:
    """A call that raised.

    Attributes:
        strangers: origins of its arguments that have not followed.
    """

    name: str
    site: CallSite | None
    strangers: list[_Origin] = field(default_factory=list)


class _Follower(TorchFunctionMode):
    """Follows tensors that are of another type, or on another device, than the model, to where they come from."""

    def __init__(self, model: nn.Module, dtype: torch.dtype | None, device: torch.device) -> None:
        super().__init__()
        self.dtype, self.device = dtype, device
        self.failure: _Failure | None = None
        self.last_stranger: _Origin | None = None
        # Tensors are kept, so that nobody else gets their ids.
        self._origins: dict[int, tuple[Tensor, _Origin]] = {}
        for name, tensor in _attributes(model):
            if self._is_stranger(tensor):
                self._origins[id(tensor)] = (tensor, _Origin(f"the attribute {name}", attribute=name))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = [t for t in tensors_in((args, kwargs or {})) if self._is_stranger(t)]
        known = [self._origins[id(t)][1] for t in given if id(t) in self._origins]
        try:
            result = func(*args, **(kwargs or {}))
        except Exception:
            if self.failure is None:
                self.failure = _Failure(name_of(func), line_in_model(), known)
            raise
        if known and self.dtype is None and _plain(name_of(func)) in _COMBINES:
            others = [t for t in tensors_in((args, kwargs or {})) if t.dim() and not self._is_stranger(t)]
            if others:
                self.failure = _Failure(name_of(func), line_in_model(), known)
                raise RuntimeError(f"{name_of(func)} is given tensors on {given[0].device} and {others[0].device}")
        for tensor in tensors_in(result):
            if self._is_stranger(tensor) and id(tensor) not in self._origins:
                origin = known[0] if known else _Origin(name_of(func), line_in_model())
                self._origins[id(tensor)] = (tensor, origin)
                self.last_stranger = origin
        return result

    def origin_of(self, tensor: Tensor) -> _Origin | None:
        """Where a tensor comes from, if it is a stranger."""
        return self._origins[id(tensor)][1] if id(tensor) in self._origins else None

    def _is_stranger(self, tensor: Tensor) -> bool:
        if self.dtype is not None:
            return tensor.is_floating_point() and tensor.dtype != self.dtype
        # Single numbers on the CPU may be combined with anything.
        return tensor.device.type != self.device.type and tensor.dim() > 0


def _plain(name: str) -> str:
    """`Tensor.__rmatmul__` and `Tensor.add_` as `matmul` and `add`."""
    last = name.rpartition(".")[2]
    return last.strip("_").removeprefix("r" if last.startswith("__r") else "").replace("truediv", "div")


def _attributes(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Plain tensor attributes, in lists and dicts too, and those of modules in plain lists."""
    for prefix, module in model.named_modules():
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules") or key.endswith("_hooks"):
                continue
            name = f"{prefix}.{key}" if prefix else key
            for tensor in tensors_in(value):
                yield name, tensor
            items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            for item in items:
                if isinstance(item, nn.Module):
                    yield from ((name, tensor) for tensor in (*item.parameters(), *item.buffers()))


def _absent_device(attempt: _Try) -> Finding:
    assert attempt.failed is not None
    site = attempt.failed.site
    return Finding(
        "hard-coded-device",
        Severity.ERROR,
        f"{attempt.failed.name} asks for a device that is not there: the model does not run on {attempt.device.type}",
        Location(file=site.file, line=site.line) if site else Location(),
        evidence={"tried": [attempt.device.type], "error": attempt.why},
        cause="device='cuda' or .cuda() is written into the model.",
        remedy="device=x.device, or x.new_zeros(...).",
    )


def _merged(findings: list[Finding]) -> list[Finding]:
    """One finding per place, with all that was tried; what is far from float32 in two types is one fault."""
    made: dict[tuple[str, str, str], Finding] = {}
    for finding in findings:
        key = (finding.code, finding.severity.value, str(finding.where) or finding.message)
        known = made.get(key)
        if known is None:
            made[key] = finding
            continue
        tried, more = known.evidence.get("tried"), finding.evidence.get("tried")
        if isinstance(tried, list) and isinstance(more, list):
            tried += more
    return list(made.values())
