"""The `autograd.Function`s of the user's own in a graph: where they are defined, and whether their backward is linear.

A backward is a linear function of the upstream gradient, whatever the forward is. One that clamps, normalises or
ignores it may still be right for the upstream gradients that a model with a scalar loss produces at one point, and
no difference quotient of the loss shows it. So each node is fed upstream gradients of several magnitudes directly.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

LARGE: Final = 1e4
SMALL: Final = 1e-6
RTOL: Final = {torch.float64: 1e-8, torch.complex128: 1e-8}
"""Of sums of three backwards; anything less precise than float64 gets `ROUGH_RTOL`."""
ROUGH_RTOL: Final = 1e-2


@dataclass(frozen=True)
class Source:
    """A class that brings its own backward, and where that is written; None where it has no source file."""

    name: str
    file: str | None
    line: int | None

    def __str__(self) -> str:
        return f"{self.name} ({self.file}:{self.line})" if self.file else self.name


def source_of(thing: type) -> Source:
    """Where `thing`, a class, defines its backward, or else itself."""
    try:
        subject = inspect.unwrap(thing.backward) if hasattr(thing, "backward") else thing
        path = Path(inspect.getsourcefile(subject) or "")
        lines, line = inspect.getsourcelines(subject)
        line += next((n for n, text in enumerate(lines) if text.lstrip().startswith(("def ", "class "))), 0)
    except (OSError, TypeError):
        return Source(thing.__name__, None, None)
    return Source(thing.__name__, _shortest(path), line)


def _shortest(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def custom_nodes(outputs: Iterable[Tensor]) -> list[Any]:
    """The nodes of custom functions behind `outputs`, in the order of the forward; not those of torch's own."""
    nodes = [
        node for node in graph_behind([output.grad_fn for output in outputs]) if isinstance(node, BackwardCFunction)
    ]
    own = [node for node in nodes if not _class_of(node).__module__.startswith("torch.")]
    return sorted(own, key=lambda node: node._sequence_nr() if hasattr(node, "_sequence_nr") else 0)


def _class_of(node: Any) -> type:
    kind: type = type(node)._forward_cls
    return kind


def graph_behind(roots: Iterable[Any]) -> Iterator[Any]:
    """All nodes from which `roots` were computed, themselves included."""
    pending, seen = [root for root in roots if root is not None], set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        pending += [following for following, _ in node.next_functions if following is not None]


def leaves_behind(node: Any) -> list[Tensor]:
    """The leaf tensors whose gradients pass through `node`."""
    return [n.variable for n in graph_behind([node]) if hasattr(n, "variable")]


@dataclass(frozen=True)
class NotLinear:
    """A custom function whose backward is no linear function of the upstream gradient."""

    source: Source
    leaves: Sequence[Tensor]
    why: str


def not_linear(outputs: Iterable[Tensor], generator: torch.Generator) -> list[NotLinear]:
    """The custom functions behind `outputs` whose backward treats upstream gradients unequally, one per class."""
    found: dict[type, NotLinear] = {}
    for node in custom_nodes(outputs):
        kind = _class_of(node)
        if kind in found:
            continue
        try:
            with torch.no_grad():
                why = _nonlinearity(node, generator)
        except Exception:  # it wants something that only the engine gives; the difference quotients will tell
            continue
        if why:
            found[kind] = NotLinear(source_of(kind), leaves_behind(node), why)
    return list(found.values())


def _nonlinearity(node: Any, generator: torch.Generator) -> str | None:
    a = [_random(metadata, generator) for metadata in node._input_metadata]
    b = [_random(metadata, generator, LARGE) for metadata in node._input_metadata]
    once, again = _apply(node, a), _apply(node, a)
    scaled = _apply(node, [SMALL * x for x in a])
    large = _apply(node, b)
    both = _apply(node, [x + y for x, y in zip(a, b, strict=True)])
    if not all(_close(x, y, x) for x, y in zip(once, again, strict=True)):
        return "gives different gradients for the same upstream gradient"
    if any(float(x.abs().max()) > 0 for x in once if x.numel()) and all(
        torch.equal(x, y) and torch.equal(x, z) for x, y, z in zip(once, large, scaled, strict=True)
    ):
        return "ignores the upstream gradient"
    if not all(_close(z, x + y, x, y) for x, y, z in zip(once, large, both, strict=True)):
        return "is not linear in the upstream gradient: large ones are clamped, or treated otherwise"
    if not all(_close(z / SMALL, x, x) for x, z in zip(once, scaled, strict=True)):
        return "is not linear in the upstream gradient: small ones are treated otherwise"
    return None


def _random(metadata: Any, generator: torch.Generator, factor: float = 1.0) -> Tensor:
    dtype: torch.dtype = metadata.dtype
    if dtype in (torch.float16, torch.bfloat16):
        factor = min(factor, 64.0)
    real = torch.complex128 if dtype.is_complex else torch.float64
    return (factor * torch.randn(tuple(metadata.shape), generator=generator, dtype=real)).to(dtype).to(metadata.device)


def _apply(node: Any, upstream: Sequence[Tensor]) -> list[Tensor]:
    results = node.apply(*upstream)
    results = results if isinstance(results, tuple) else (results,)
    return [result.detach() for result in results if isinstance(result, Tensor)]


def _close(x: Tensor, y: Tensor, *parts: Tensor) -> bool:
    if not x.numel():
        return True
    size = max(float(part.abs().max()) for part in parts)
    return bool((x - y).abs().max() <= RTOL.get(x.dtype, ROUGH_RTOL) * size) if size < float("inf") else True
