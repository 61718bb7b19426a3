"""Training and evaluation mode: which mode dropout and batch normalisation ran in, and what ran without gradients.

Two questions are answered. In training steps: did a module with two modes run in its evaluation mode, and was that
still set when the optimizer stepped? Without gradients: did a model that is being trained run in training mode, how
often in a row, on which inputs, and was a loss computed? The latter is what tells an evaluation from a teacher's
forward, a generator's sample, pseudo-labels or statistics that are estimated anew, all of which are meant.
"""

from __future__ import annotations

import dis
import functools
import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, ClassVar, Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.callsite import CallSite, call_site, user_frame
from diagnose.collect.forward import LossCall, ModelRun
from diagnose.collect.graph import sequence_number
from diagnose.collect.inventory import unwrapped
from diagnose.collect.nested import tensors_in
from diagnose.collect.reading import Unseen, accessible, to_floats
from diagnose.history import ModeFacts

_BATCHES_REMEMBERED: Final = 4
_WINDOW: Final = 64
_NAMES_KEPT: Final = 8
_RUNS_REMEMBERED: Final = 8
_MODES_KEPT: Final = 4096

# What may lie between the output of a model and its loss function: other shapes and types, and link functions.
_SHAPING: Final = (
    "View", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "TBackward", "Permute", "ToCopy", "LogSoftmax", "Softmax",
    "Sigmoid", "Log", "Select", "Slice", "Clone", "Alias",
)  # fmt: skip
_SHAPING_DEPTH: Final = 5
_CHANNEL_DROPOUTS: Final = ("Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout")
# And between a layer and the normalisation of its output.
_NORMALIZING: Final = ("BatchNorm", "View", "Reshape", "Clone", "ToCopy", "Contiguous")
_NORMALIZING_DEPTH: Final = 5


# A layer that has run: its name, the shape of what it put out, whether its units lie along dimension 1.
_Layer: TypeAlias = tuple[str, tuple[int, ...], bool]
_INPUT: Final[_Layer] = ("", (), False)


@dataclass
class _Use:
    """A thing with two modes, as it ran in one forward pass or in all those of one step."""

    key: str
    kind: str
    type: str
    p: float
    module: weakref.ref[nn.Module] | None
    site: CallSite | None
    layer: str
    units: int
    on: bool = False
    off: bool = False
    model: weakref.ref[nn.Module] | None = None


@dataclass
class _Runs:
    """What a model did without gradients since training paused."""

    root: weakref.ref[nn.Module]
    site: CallSite | None
    number: int = 0
    repeated: int = 0
    dropped: int = 0
    trained_on: int = 0
    is_known_input: bool = False
    as_in_training: bool = False
    in_training_mode: int = 0
    on: dict[str, bool] = field(default_factory=dict)
    off: int = 0
    last_input: weakref.ref[Tensor] | None = None
    beside: weakref.WeakSet[nn.Module] = field(default_factory=weakref.WeakSet)


class Batch:
    """Remembers which tensor a model was given, and what it held where that can be read for free."""

    __slots__ = ("reference", "shape", "window")

    def __init__(self, tensor: Tensor) -> None:
        self.reference = weakref.ref(tensor)
        self.shape = tuple(tensor.shape)
        self.window = _window(tensor)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Batch) or self.shape != other.shape:
            return False
        own, others = self.reference(), other.reference()
        if own is not None and own is others:
            return True
        return self.window is not None and other.window is not None and torch.equal(self.window, other.window)

    __hash__ = None  # type: ignore[assignment]


class ModesCollector(Collector):
    """Keeps `history.modes`, notes "ran-without-gradients", and which normalisation takes out which bias."""

    name: ClassVar[str] = "modes"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._sampled = False
        self._stepped = False
        self._pending: list[_Use] = []
        self._interval: dict[str, _Use] = {}
        self._runs: dict[int, _Runs] = {}
        self._losses = 0
        self._layer: _Layer = _INPUT
        self._outputs: dict[int, str] = {}
        self._results: list[tuple[weakref.ref[nn.Module], int]] = []
        self._training_losses: list[weakref.ref[Tensor]] = []
        self._last_root: weakref.ref[nn.Module] | None = None
        self._batches: weakref.WeakKeyDictionary[nn.Module, list[Batch]] = weakref.WeakKeyDictionary()
        self._first_inputs: dict[tuple[CallSite | None, int], Batch] = {}
        self._models: weakref.WeakKeyDictionary[nn.Module, weakref.ref[nn.Module]] = weakref.WeakKeyDictionary()
        self._feeds_loss: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._is_last: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._keys: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
        self._owners: dict[str, weakref.ref[nn.Module]] = {}

    # -- training steps -----------------------------------------------------------------------------

    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        self._sampled = True
        if not self.shared.heard_before:
            self._interval.clear()
        self._forget_forward()

    def _forget_forward(self) -> None:
        self._pending.clear()
        self._outputs.clear()
        self._results.clear()
        self._training_losses.clear()
        self._layer = _INPUT
        self._last_root = None

    def module_ran(self, module: nn.Module, output: Any, order: int) -> None:
        if not module._modules and isinstance(output, Tensor) and output.dim() > 1:
            name = self.inventory.module_name(module) or type(module).__name__
            self._layer = (name, tuple(output.shape), isinstance(module, _ConvNd | _NormBase))
        if self.shared.is_thorough and isinstance(output, Tensor):
            self._look_for_bias(module, output)

    def _look_for_bias(self, module: nn.Module, output: Tensor) -> None:
        """Notes which layer's output a normalisation was given, by the graph: what runs after what is not enough."""
        node = output.grad_fn
        if node is None:
            return
        if isinstance(module, nn.Linear | _ConvNd):
            bias = self.inventory.parameter_name(module.bias) if module.bias is not None else None
            if bias is not None and len(self._outputs) < _MODES_KEPT:
                self._outputs[sequence_number(node)] = bias
        elif isinstance(module, _NormBase) and (module.training or module.running_mean is None):
            for parent in _behind(node, _NORMALIZING, _NORMALIZING_DEPTH):
                facts = self.history.parameters.get(self._outputs.get(sequence_number(parent), ""))
                if facts is not None:
                    facts.removed_by = self.inventory.module_name(module) or type(module).__name__

    def two_mode_ran(self, module: nn.Module, *, training: bool) -> None:
        if isinstance(module, _NormBase):
            if module.running_mean is None:
                return  # there is only one mode
            kind, p, on = "normalization", 0.0, module.training
        else:
            p = float(getattr(module, "p", 0.0))
            if p <= 0:
                return
            kind, on = "dropout", module.training
        self._saw(self._key(module), kind, type(module).__name__, p, weakref.ref(module), None, on=on)

    def dropout_called(self, p: float, *, active: bool, training: bool, file: str | None, line: int | None) -> None:
        if p > 0 and file is not None and line is not None:
            key = f"{file}:{line}"
            self._saw(key, "dropout", "dropout", p, None, CallSite(file, line), on=active)

    def _saw(
        self,
        key: str,
        kind: str,
        type_name: str,
        p: float,
        module: weakref.ref[nn.Module] | None,
        site: CallSite | None,
        *,
        on: bool,
    ) -> None:
        if len(self._pending) < _MODES_KEPT:
            layer, units = self._layer[0], _units(self._layer, type_name)
            self._pending.append(_Use(key, kind, type_name, p, module, site, layer, units, on=on, off=not on))

    def _key(self, module: nn.Module) -> str:
        name = self.inventory.module_name(module)
        if name:
            return name
        known = self._keys.get(module)
        if known is None:
            known = self._keys[module] = f"{type(module).__name__}#{len(self._keys) + 1}"
        return known

    def model_ran(self, run: ModelRun) -> None:
        root = unwrapped(run.module)
        pending, self._pending = self._pending, []
        if not run.training:
            self._ran_without_gradients(root, run, pending)
            return
        has_parameters = next(root.parameters(), None) is not None
        if self._sampled:
            if self._stepped and (pending or has_parameters):
                self._stepped = False
                self._interval.clear()
            model = self._model_of(root) if pending else None
            for use in pending if model is not None else ():
                use.model = model
                merged = self._interval.setdefault(use.key, use)
                merged.on, merged.off = merged.on or use.on, merged.off or use.off
        if has_parameters:
            self._trains(root, run)
        if root._modules and has_parameters:
            self._layer = _INPUT

    def _trains(self, root: nn.Module, run: ModelRun) -> None:
        """Remembers what a model was trained on, and whether a loss function is given what it puts out."""
        given = next(tensors_in((run.args, run.kwargs)), None)
        if given is not None:
            with Unseen():
                batches = self._batches.setdefault(root, [])
                batches.append(Batch(given))
                del batches[:-_BATCHES_REMEMBERED]
        outputs = list(tensors_in(run.output))
        if len(outputs) == 1 and isinstance(run.output, Tensor) and run.output.grad_fn is not None:
            self._last_root = weakref.ref(root)
            self._results.append((weakref.ref(root), sequence_number(run.output.grad_fn)))
            del self._results[:-_RUNS_REMEMBERED]
        else:
            self._last_root = None
        if any(loss() is output for loss in self._training_losses for output in outputs):
            self._feeds_loss.add(root)  # it computes its own loss

    def loss_called(self, call: LossCall) -> None:
        if not call.training:
            self._losses += call.result.dim() == 0
            return
        self._training_losses.append(weakref.ref(call.result))
        del self._training_losses[:-_RUNS_REMEMBERED]
        if call.input.grad_fn is None:
            return
        numbers = {number: root for root, number in self._results}
        node = call.input.grad_fn
        for ancestor in (node, *_behind(node, _SHAPING, _SHAPING_DEPTH)):
            root = numbers.get(sequence_number(ancestor), lambda: None)()
            if root is not None:
                self._feeds_loss.add(root)
                return

    def backward_begins(self, loss: Loss | None) -> None:
        self._note_runs()
        last = self._last_root() if self._last_root is not None else None
        if last is not None:
            self._is_last.add(last)
        self._forget_forward()

    def step_begins(self, step: Step) -> None:
        self._note_runs()

    def step_ends(self, step: Step) -> None:
        self._sampled, self._stepped = False, True
        if not self._interval:
            return
        held = {id(p) for group in step.optimizer.param_groups for p in group["params"] if p.requires_grad}
        shares: dict[int, float] = {}
        parents: dict[int, dict[int, nn.Module]] = {}
        new: list[tuple[ModeFacts, Tensor]] = []
        for use in self._interval.values():
            model = use.model() if use.model is not None else None
            if model is None or use.on == use.off:
                continue
            share = shares.get(id(model))
            if share is None:
                share = shares[id(model)] = trained_share(model, held)
            if share > 0 and (facts := self._count(use, model, share, step, new)) is not None:
                if id(model) not in parents:
                    parents[id(model)] = _parents(model)
                module = use.module() if use.module is not None else None
                facts.trained = _is_trained(module, model, parents[id(model)], held)
                facts.reached = module is None or module is model or id(module) in parents[id(model)]
        if new:
            for (facts, _), is_fresh in zip(new, to_floats([statistic for _, statistic in new]), strict=True):
                facts.fresh = bool(is_fresh)

    def _count(
        self,
        use: _Use,
        model: nn.Module,
        share: float,
        step: Step,
        new: list[tuple[ModeFacts, Tensor]],
    ) -> ModeFacts | None:
        """Counts the step; returns the facts if what changes slowly is to be looked at, too."""
        module = use.module() if use.module is not None else None
        # A model that crafts adversarial examples in evaluation mode is back in training mode by now.
        if use.off and (module.training if module is not None else model.training):
            return None
        facts, is_new = self._facts(use, model, module, step)
        if facts is None:
            return None
        facts.p = use.p if is_new else min(facts.p, use.p)
        facts.share = share
        if use.on:
            facts.on += 1
            facts.first_on = facts.first_on or step.number
            facts.last_on = step.number
        else:
            if not facts.off and isinstance(module, _NormBase):
                with Unseen():
                    new.extend((facts, statistic) for statistic in _is_fresh(module))
            facts.off += 1
            facts.model_on += model.training
            facts.first_off = facts.first_off or step.number
            facts.last_off = step.number
        return facts if is_new or self.shared.is_thorough else None

    def _facts(
        self, use: _Use, model: nn.Module, module: nn.Module | None, step: Step
    ) -> tuple[ModeFacts | None, bool]:
        """The facts of what ran, for the optimizer that stepped; new ones if another module took the name."""
        key = f"{use.key} ({step.name})"
        owner = self._owners.get(key)
        facts = self.history.modes.get(key)
        if facts is not None and owner is not None and owner() is (model if module is None else module):
            return facts, False
        if facts is None and len(self.history.modes) >= _MODES_KEPT:
            return None, False
        self._owners[key] = weakref.ref(model if module is None else module)
        file, line = use.site or (None, None)
        facts = self.history.modes[key] = ModeFacts(
            kind="dropout" if use.kind == "dropout" else "normalization",
            type=use.type,
            module="" if module is None else use.key,
            file=file,
            line=line,
            model=self._model_name(model),
            optimizer=step.name,
            layer=use.layer,
            units=use.units,
        )
        return facts, True

    # -- without gradients ----------------------------------------------------------------------------

    def evaluation_ends(self) -> None:
        self._note_runs()

    def finish(self) -> None:
        self._note_runs()
        self._forget_forward()

    def _ran_without_gradients(self, root: nn.Module, run: ModelRun, pending: list[_Use]) -> None:
        if not self.shared.step_of or not max(self.shared.step_of.values()):
            return
        if not pending and next(root.parameters(), None) is None:
            return
        runs = self._runs.get(id(root))
        given = next(tensors_in((run.args, run.kwargs)), None)
        if runs is None or runs.root() is not root:
            runs = self._runs[id(root)] = _Runs(weakref.ref(root), call_site())
        with Unseen():
            if given is not None:
                self._compare_input(runs, root, given)
        runs.number += 1
        runs.dropped += is_dropped()
        runs.in_training_mode += root.training
        for use in pending:
            module = use.module() if use.module is not None else None
            if use.off:
                runs.off += 1
            elif isinstance(module, _NormBase) and not module.momentum:
                pass  # None: the statistics are averaged over all that comes, as update_bn() does
            elif use.key not in runs.on and len(runs.on) < _NAMES_KEPT:
                runs.on[use.key] = module is not None and self._reached(module, root)

    def _reached(self, module: nn.Module, root: nn.Module) -> bool:
        """Whether `module` is part of the model that was called, so that `model.eval()` reaches it."""
        reference = self._model_of(root)
        model = reference() if reference is not None else None
        return model is not None and any(m is module for m in model.modules())

    def _compare_input(self, runs: _Runs, root: nn.Module, given: Tensor) -> None:
        last = runs.last_input() if runs.last_input is not None else None
        runs.repeated += last is given
        for other in self._runs.values():
            beside = other.root()
            given_to_other = other.last_input() if other.last_input is not None else None
            if other is not runs and beside is not None and given_to_other is given:
                runs.beside.add(beside)
                other.beside.add(root)
        runs.last_input = weakref.ref(given)
        if runs.number and runs.trained_on < runs.number:
            return
        batch = Batch(given)
        trained_on = self._batches.get(root, ())
        runs.trained_on += any(batch == other for other in trained_on)
        if not runs.number:
            place = (runs.site, id(root))
            before = self._first_inputs.get(place)
            runs.is_known_input = before is not None and before == batch
            runs.as_in_training = any(batch.shape == other.shape for other in trained_on)
            if len(self._first_inputs) < _MODES_KEPT:
                self._first_inputs[place] = batch

    def _note_runs(self) -> None:
        """Training goes on: what ran without gradients since it paused is told as one event per model."""
        losses, self._losses = self._losses, 0
        if not self._runs:
            return
        everything, self._runs = list(self._runs.values()), {}
        held = {
            id(p)
            for _, optimizer in self.inventory.optimizers()
            for group in optimizer.param_groups
            for p in group["params"]
            if p.requires_grad
        }
        step = max(self.shared.step_of.values(), default=0)
        for runs in everything:
            root = runs.root()
            reference = self._model_of(root) if root is not None else None
            model = reference() if reference is not None else None
            if root is None or model is None or not (runs.on or runs.off):
                continue
            share = trained_share(root if next(root.parameters(), None) is not None else model, held)
            if share <= 0:
                continue
            self.history.note(
                "ran-without-gradients",
                step,
                self._model_name(model),
                runs=runs.number,
                repeated=runs.repeated,
                dropped=runs.dropped,
                trained_on=runs.trained_on,
                known_input=runs.is_known_input,
                shape_of_training=runs.as_in_training,
                losses=losses,
                in_training_mode=runs.in_training_mode,
                on=[name for name, reached in runs.on.items() if reached],
                unreached=[name for name, reached in runs.on.items() if not reached],
                off=runs.off,
                feeds_loss=root in self._feeds_loss,
                comes_last=root in self._is_last,
                # An actor beside its critic: given the same, and no loss function judges it.
                beside=any(other not in self._feeds_loss for other in runs.beside),
                share=share,
                file=runs.site.file if runs.site else None,
                line=runs.site.line if runs.site else None,
            )

    # -- who belongs to whom ----------------------------------------------------------------------------

    def _model_of(self, root: nn.Module) -> weakref.ref[nn.Module] | None:
        """The model that a module called from outside belongs to: itself if it has parts, else the one around it."""
        if root._modules and next(root.parameters(), None) is not None:
            return weakref.ref(root)
        known = self._models.get(root)
        if known is not None and known() is not None:
            return known
        for _, model in self.inventory.models():
            if any(module is root for module in model.modules()):
                self._models[root] = weakref.ref(model)
                return self._models[root]
        return None

    def _model_name(self, model: nn.Module) -> str:
        for name, other in self.inventory.models():
            if other is model:
                return name
        return self.inventory.module_name(model) or type(model).__name__


def _units(layer: _Layer, type_name: str) -> int:
    """How many units of `layer` a dropout of this type drops one by one.

    Of a convolution: its channels, if it drops channels; else at most all elements of an example, for they may be
    flattened. Pooling in between is not seen.
    """
    _, shape, is_channels_first = layer
    if not shape:
        return 0
    if not is_channels_first or len(shape) == 2:
        return shape[-1 if not is_channels_first else 1]
    return shape[1] if type_name in _CHANNEL_DROPOUTS else math.prod(shape[1:])


def trained_share(model: nn.Module, held: set[int]) -> float:
    """Share of the model's parameters, by elements, that an optimizer holds."""
    own = trained = 0
    for parameter in model.parameters():
        own += parameter.numel()
        trained += parameter.numel() * (id(parameter) in held)
    return trained / own if own else 0.0


def _parents(model: nn.Module) -> dict[int, nn.Module]:
    """The module around each module of the model, by id."""
    return {id(child): module for module in model.modules() for child in module._modules.values() if child is not None}


def _is_trained(module: nn.Module | None, model: nn.Module, parents: Mapping[int, nn.Module], held: set[int]) -> bool:
    """Whether its own parameters are trained; if it has none, any of the smallest module around it that has some."""
    around = module if module is not None else model
    while next(around.parameters(), None) is None and id(around) in parents:
        around = parents[id(around)]
    if next(around.parameters(), None) is None:
        around = model
    return any(id(parameter) in held for parameter in around.parameters())


def _is_fresh(module: _NormBase) -> Iterator[Tensor]:
    """One number, 1 if the running statistics are those that a new module has."""
    mean, variance = module.running_mean, module.running_var
    if mean is not None and variance is not None and mean.device.type != "meta":
        yield ((mean == 0).all() & (variance == 1).all()).to(torch.float32)


def _behind(node: Any, names: tuple[str, ...], depth: int) -> Iterator[Any]:
    """The nodes that `node` was computed from, along first inputs, while only operations of `names` lie between."""
    for _ in range(depth):
        if not any(name in node.name() for name in names) or not node.next_functions:
            return
        node = node.next_functions[0][0]
        if node is None:
            return
        yield node


def _window(tensor: Tensor) -> Tensor | None:
    """A copy of a few of its elements, None where reading them would wait for a device or be seen."""
    if not accessible(tensor) or tensor.device.type != "cpu":
        return None
    flat = tensor.detach()
    for _ in range(flat.dim() - 1):
        flat = flat[0] if flat.shape[0] == 1 or flat[0].numel() >= _WINDOW else flat.flatten(0, 1)
    return flat[:_WINDOW].clone() if flat.dim() else flat.clone()


def is_dropped() -> bool:
    """Whether the line that called the model does nothing with what it returned: `model(x)`, or `_ = model(x)`."""
    frame = user_frame()
    return frame is not None and _drops(frame.f_code, frame.f_lasti)


@functools.lru_cache(maxsize=256)
def _drops(code: CodeType, instruction: int) -> bool:
    """Whether the result of the call at `instruction` is thrown away."""
    following = (i for i in dis.get_instructions(code) if i.offset > instruction and i.opname != "CACHE")
    first = next(following, None)
    if first is None:
        return False
    return first.opname == "POP_TOP" or (first.opname.startswith("STORE_") and first.argval == "_")
