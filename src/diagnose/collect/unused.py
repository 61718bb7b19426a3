"""Forward passes in training mode with gradients enabled whose graph no backward goes through.

An evaluation without `no_grad()` and without `eval()` looks like training until its outputs are thrown away. Whether
they are is told by the graph: a pre-hook on the node behind an output runs if any backward ever comes by, however much
later. The hook lies on the node and dies with it. So a pass is judged when two more occasions have been looked at.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Shared
from diagnose.collect.callsite import CallSite, call_site
from diagnose.collect.forward import LossCall, ModelRun
from diagnose.collect.inventory import unwrapped
from diagnose.collect.modes import Batch, is_dropped, trained_share
from diagnose.collect.nested import tensors_in
from diagnose.collect.reading import Unseen

_PASSES_MAX: Final = 64
_OUTPUTS_MAX: Final = 4
_NAMES_KEPT: Final = 8
_WAITING: Final = 2
_BATCHES: Final = 8
_PLACES_MAX: Final = 64


class _Fate:
    """Whether a backward has come by."""

    __slots__ = ("__weakref__", "used")

    def __init__(self) -> None:
        self.used = False

    def follow(self, tensor: Tensor) -> None:
        node = tensor.grad_fn
        if node is not None:
            node.register_prehook(self._hook())

    def _hook(self) -> Callable[[Any], None]:
        def came_by(_: Any) -> None:
            self.used = True

        return came_by


@dataclass
class _Pass:
    root: weakref.ref[nn.Module]
    site: CallSite | None
    batch: Batch
    fate: _Fate
    on: tuple[str, ...]


@dataclass
class _Occasion:
    """What ran since training paused: until the next backward, or until the next step where that is looked at."""

    step: int
    passes: list[_Pass] = field(default_factory=list)
    losses: list[tuple[_Fate, bool]] = field(default_factory=list)


class UnusedCollector(Collector):
    """Notes "forward-unused". Memory: 64 passes for each of 3 occasions, a few numbers of each."""

    name: ClassVar[str] = "unused"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._occasions: list[_Occasion] = []
        self._on: list[str] = []
        self._trained_on: weakref.WeakKeyDictionary[nn.Module, list[Batch]] = weakref.WeakKeyDictionary()
        self._sites: set[CallSite | None] = set()
        self._first: dict[CallSite | None, Batch] = {}
        self._is_last: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._trains_by_loss = False

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self.occasion_begins()

    def occasion_begins(self) -> None:
        self._on.clear()
        self._occasions.append(_Occasion(max(self.shared.step_of.values(), default=0)))
        while len(self._occasions) > _WAITING + 1:
            self._judge(self._occasions.pop(0))

    def finish(self) -> None:
        while self._occasions:
            self._judge(self._occasions.pop(0))
        self._trained_on.clear()
        self._first.clear()

    def two_mode_ran(self, module: nn.Module, *, training: bool) -> None:
        if not module.training or len(self._on) >= _NAMES_KEPT:
            return
        # Momentum None: the statistics are averaged over all that comes, as update_bn() does.
        has_effect = (
            module.running_mean is not None and bool(module.momentum)
            if isinstance(module, _NormBase)
            else float(getattr(module, "p", 0.0)) > 0
        )
        if has_effect:
            self._on.append(self.inventory.module_name(module) or type(module).__name__)

    def dropout_called(self, p: float, *, active: bool, training: bool, file: str | None, line: int | None) -> None:
        if p > 0 and active and len(self._on) < _NAMES_KEPT:
            self._on.append(f"dropout at line {line}")

    def model_ran(self, run: ModelRun) -> None:
        on, self._on = tuple(self._on), []
        if not run.training or not run.module.training or not self._occasions or is_dropped():
            return
        passes = self._occasions[-1].passes
        given = next(tensors_in((run.args, run.kwargs)), None)
        outputs = [t for t in tensors_in(run.output) if t.grad_fn is not None][:_OUTPUTS_MAX]
        if len(passes) >= _PASSES_MAX or given is None or not outputs:
            return
        fate = _Fate()
        with Unseen():
            batch = Batch(given)
        for output in outputs:
            fate.follow(output)
        passes.append(_Pass(weakref.ref(unwrapped(run.module)), call_site(), batch, fate, on))

    def loss_called(self, call: LossCall) -> None:
        if call.training and self._occasions and len(self._occasions[-1].losses) < _PASSES_MAX:
            fate = _Fate()
            fate.follow(call.result)
            self._occasions[-1].losses.append((fate, call.result.dim() == 0))

    def _judge(self, occasion: _Occasion) -> None:
        used = [each for each in occasion.passes if each.fate.used]
        for each in used:
            root = each.root()
            if root is not None:
                batches = self._trained_on.setdefault(root, [])
                batches.append(each.batch)
                del batches[:-_BATCHES]
        self._sites.update(each.site for each in used[-_BATCHES:] if len(self._sites) < _PLACES_MAX)
        last = used[-1].root() if used else None
        if last is not None:
            self._is_last.add(last)
        self._trains_by_loss |= any(fate.used for fate, _ in occasion.losses)
        places: dict[tuple[CallSite | None, int], list[_Pass]] = {}
        for each in occasion.passes:
            if not each.fate.used and each.on and each.root() is not None:
                places.setdefault((each.site, id(each.root())), []).append(each)
        for (site, _), passes in places.items():
            root = passes[0].root()
            if root is not None and occasion.step > 0:
                self._note(occasion, site, root, passes)

    def _note(self, occasion: _Occasion, site: CallSite | None, root: nn.Module, passes: list[_Pass]) -> None:
        held = {
            id(p) for _, optimizer in self.inventory.optimizers() for group in optimizer.param_groups
            for p in group["params"] if p.requires_grad
        }  # fmt: skip
        with Unseen():
            different: list[Batch] = []
            for each in passes:
                if each.batch not in different:
                    different.append(each.batch)
            trained = self._trained_on.get(root, [])
            trained_on = sum(batch in trained for batch in different)
            before = self._first.get(site)
            known = before is not None and before == different[0]
            if len(self._first) < _PLACES_MAX or site in self._first:
                self._first[site] = different[0]
        self.history.note(
            "forward-unused",
            occasion.step,
            self.inventory.module_name(root) or type(root).__name__,
            runs=len(passes),
            different=len(different),
            trained_on=trained_on,
            known_input=known,
            shape_of_training=any(different[0].shape == batch.shape for batch in trained),
            losses=sum(is_scalar and not fate.used for fate, is_scalar in occasion.losses),
            per_example=sum(not is_scalar and not fate.used for fate, is_scalar in occasion.losses),
            trains_by_loss=self._trains_by_loss,
            comes_last=root in self._is_last,
            is_final=occasion.step >= max(self.shared.step_of.values(), default=0),
            same_line=site in self._sites,
            on=list(passes[0].on),
            share=trained_share(root, held),
            file=site.file if site else None,
            line=site.line if site else None,
        )
