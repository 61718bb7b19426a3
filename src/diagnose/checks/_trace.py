"""What a forward computes, call by call: where two runs part for the first time.

A model is run as it is and with a part of its inputs changed. Every function of torch that its code calls is noted
with what it returned and with the line that called it; the first one whose result has changed in a place that the
change must not reach is where the fault lies. What a call contains (the steps of `nn.LSTM`, the products within
`F.multi_head_attention_forward`) is not seen apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from diagnose.checks import _rehearsal
from diagnose.checks._tensors import named_tensors
from diagnose.collect.callsite import CallSite, call_site

# Properties and bookkeeping: their results are no values that were computed.
_IGNORED = ("__get__", "__set__", "size", "dim", "stride", "is_", "requires_grad_", "__len__", "__repr__")


@dataclass(frozen=True)
class Call:
    """A function that was called, with its results as they were then.

    Attributes:
        name: as "softmax" or "Tensor.view".
        results: copies.
        site: the user's line; None if it cannot be told.
    """

    name: str
    results: tuple[Tensor, ...]
    site: CallSite | None


class Trace(TorchFunctionMode):
    """A context that notes calls, at most `limit` of them."""

    def __init__(self, limit: int = 20_000) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._limit = limit

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = name_of(func)
        if len(self.calls) < self._limit and not name.rpartition(".")[2].startswith(_IGNORED):
            copies = tuple(tensor.detach().clone() for _, tensor in named_tensors(result))
            if copies:
                self.calls.append(Call(name, copies, line_in_model()))
        return result


def line_in_model() -> CallSite | None:
    """The line of the model, or of the library it comes from, that is being executed; None if all is torch's own."""
    return call_site(above=_rehearsal.__file__)


def name_of(function: Any) -> str:
    """The name of a function of torch, as people write it."""
    name = resolve_name(function) or getattr(function, "__name__", "")
    return str(name).removeprefix("torch.").removeprefix("_C.").replace("nn.functional.", "F.")


def traced(run: Callable[[], Any]) -> list[Call]:
    """The calls that `run` makes."""
    trace = Trace()
    with trace:
        run()
    return trace.calls


def first_reached(before: list[Call], after: list[Call], reaches: Callable[[Tensor, Tensor], bool]) -> Call | None:
    """The first call whose result has changed where it must not; None if that cannot be told.

    Args:
        reaches: of two results of one call, whether the second shows the change in a forbidden place.
    """
    for old, new in zip(before, after, strict=False):
        if old.name != new.name or len(old.results) != len(new.results):
            return None
        for a, b in zip(old.results, new.results, strict=True):
            if a.shape != b.shape:
                return None
            if reaches(a, b):
                return new
    return None
