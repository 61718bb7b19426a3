"""States that modules give away and take back: whether they still are what they were, and whether they fit.

The tensors of `state_dict()` are the module's own memory. A state that is kept without a copy changes with the
module, and loading it does nothing; the version counter that both share tells that the memory was written since.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from torch import Tensor, nn

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.callsite import call_site
from diagnose.history import LoadFacts

_TAKEN_MAX: Final = 64
_LOADS_MAX: Final = 64
_FITS: Final = 0.75  # counters are not reported as missing where a version of the module did without them


@dataclass
class _Taken:
    """A state that a module gave away: its first trainable tensor stands for it, the versions of all are added up."""

    module: weakref.ref[nn.Module]
    tensor: weakref.ref[Tensor]
    version: int
    step: int


class CheckpointCollector(Collector):
    """Keeps `History.loads`. Memory: a bounded number of weak references."""

    name: ClassVar[str] = "checkpoints"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._taken: list[_Taken] = []
        self._mismatched: list[tuple[weakref.ref[nn.Module], LoadFacts]] = []

    def state_taken(self, module: nn.Module, state: Any) -> None:
        own = next((p for p in module.parameters() if p.requires_grad), None)
        first = next((t for t in _tensors(state) if own is not None and _same_memory(t, own)), None)
        if own is None or first is None:
            return
        self._taken.append(_Taken(weakref.ref(module), weakref.ref(first), _version(module), self._step()))
        del self._taken[:-_TAKEN_MAX]

    def state_loads(self, module: nn.Module, state: Any) -> None:
        taken, step = self._origin(module, state), self._step()
        if taken is None or not _is_own_memory(module, state):
            return
        # What was written without a step in between may have been written to the state, in place.
        if _version(module) == taken.version:
            aliased, idle = False, not self._is_trained(module)  # after training, the best state may be the last
        else:
            aliased, idle = step != taken.step, False
        if aliased or idle:
            self._add(LoadFacts(self._label(module), aliased=aliased, idle=idle, taken_at=taken.step, loaded_at=step))

    def state_loaded(self, module: nn.Module, state: Any, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        """A later load that fits takes back what was said of an earlier one that did not."""
        for reference, facts in list(self._mismatched):
            if reference() is module:
                self._mismatched = [pair for pair in self._mismatched if pair[1] is not facts]
                self.history.loads = [each for each in self.history.loads if each is not facts]
        if not unexpected or not missing:
            return
        facts = LoadFacts(
            self._label(module),
            loaded_at=self._step(),
            keys=len(state),
            matched=len(state) - len(unexpected),
            missing=len(missing),
            prefix=_prefix(missing, unexpected),
        )
        _renamed(module, state, missing, unexpected, facts)
        self._mismatched.append((weakref.ref(module), facts))
        self._add(facts)

    def finish(self) -> None:
        self._taken.clear()
        self._mismatched.clear()

    def _add(self, facts: LoadFacts) -> None:
        site = call_site()
        if site is not None:
            facts.file, facts.line = site
        if len(self.history.loads) < _LOADS_MAX:
            self.history.loads.append(facts)

    def _origin(self, module: nn.Module, state: Any) -> _Taken | None:
        """When the state was taken, if it was taken from this module; at the latest, where its tensors were remade."""
        tensors = {id(tensor) for tensor in _tensors(state)}
        for taken in reversed(self._taken):
            if (tensor := taken.tensor()) is not None and id(tensor) in tensors:
                return taken
        return next((taken for taken in reversed(self._taken) if taken.module() is module), None)

    def _is_trained(self, module: nn.Module) -> bool:
        """Whether any of its parameters was seen with a gradient at a step."""
        names = (self.inventory.parameter_name(p) for p in module.parameters())
        return any(name in self.history.parameters and self.history.parameters[name].gradients > 0 for name in names)

    def _label(self, module: nn.Module) -> str:
        return self.inventory.module_name(module) or type(module).__name__

    def _step(self) -> int:
        return sum(self.shared.step_of.values())


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Mapping):
        yield from (value for value in state.values() if isinstance(value, Tensor))


def _same_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two dense tensors begin at the same address and are of one shape."""
    try:
        return bool(one.numel()) and one.shape == other.shape and one.data_ptr() == other.data_ptr()
    except RuntimeError:  # a tensor without storage: fake, functional, sparse
        return False


def _is_own_memory(module: nn.Module, state: Any) -> bool:
    """Whether the state holds nothing but the memory that each parameter has already."""
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    return bool(parameters) and all(
        isinstance(state.get(name), Tensor) and _same_memory(state[name], p) for name, p in parameters.items()
    )


def _version(module: nn.Module) -> int:
    """Grows with every write to a parameter that is trained."""
    return sum(p._version for p in module.parameters() if p.requires_grad)


def _renamed(
    module: nn.Module, state: Any, missing: Sequence[str], unexpected: Sequence[str], facts: LoadFacts
) -> None:
    """Pairs what the module lacks and what it was given too much, in order, for as long as shapes and kinds agree."""
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    given = {name: t for name in state if isinstance(t := state[name], Tensor)}
    lacking = [name for name in missing if name in own and own[name].dim()]
    spare = [name for name in unexpected if name in given and given[name].dim()]
    pairs: list[tuple[str, str]] = []
    for there, here in zip(spare, lacking, strict=False):
        if given[there].shape != own[here].shape or there.rpartition(".")[2] != here.rpartition(".")[2]:
            break
        pairs.append((there, here))
    if not pairs:
        return
    facts.renamed = pairs[0]
    facts.renamed_weights = sum(given[there].dim() > 1 for there, _ in pairs)
    elements = sum(t.numel() for t in given.values())
    facts.renamed_share = sum(given[there].numel() for there, _ in pairs) / max(elements, 1)
    facts.inner = _goes_on(list(given), [there for there, _ in pairs], set(unexpected)) and _goes_on(
        list(own), [here for _, here in pairs], set(missing)
    )


def _goes_on(names: Sequence[str], renamed: Sequence[str], others: set[str]) -> bool:
    """Whether a name that fits comes after the last one that does not."""
    at = names.index(renamed[-1])
    return any(name not in others and "." in name for name in names[at + 1 :])


def _prefix(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """What must be taken off the unexpected names ("module.") or off the missing ones ("+module.") to make them fit."""
    lacking, extra = set(missing), set(unexpected)
    parts = unexpected[0].split(".")
    for count in range(1, len(parts)):
        prefix = ".".join(parts[:count]) + "."
        if sum(name.removeprefix(prefix) in lacking for name in extra) >= _FITS * len(extra):
            return prefix
    first = "." + unexpected[0]
    for name in missing:
        if name.endswith(first):
            prefix = name.removesuffix(unexpected[0])
            if sum(prefix + each in lacking for each in extra) >= _FITS * len(extra):
                return f"+{prefix}"
    return ""
