"""Sees the inside of forward passes: which module runs, which activation is called, on what.

Two means, both global and in place only while something is looked at, so that no object of the user's ever
carries a hook of ours: module hooks tell the path, a TorchFunctionMode sees functional calls (`F.relu`,
`torch.tanh`, `x.sigmoid()`), whether a module makes them or not.

What must not be disturbed:
- Compiled code recompiles under hooks or a mode: on the first sign of dynamo both are gone for good.
- nn.MultiheadAttention and the encoder layers take a fast path in eval mode, which computes other bits, unless
  a mode is there: it is lifted for as long as they run.
- The user's own modes are pushed and popped in a stack. Ours goes below them all and can be taken out from
  there at any time, so that their order is never disturbed.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType, FunctionType
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import activation as activation_modules
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode, handle_torch_function
from torch.utils._device import DeviceContext

from diagnose.collect.callsite import call_site, code_id, user_frame
from diagnose.collect.reading import undisturbed
from diagnose.collect.targets import class_labels

# Private, and typed as such.
_len_torch_function_stack: Callable[[], int] = torch.overrides._len_torch_function_stack  # type: ignore[attr-defined]
_pop_mode: Callable[[], TorchFunctionMode] = torch.overrides._pop_mode
_push_mode: Callable[[TorchFunctionMode], None] = torch.overrides._push_mode

# A handle does not take its id out of this one (torch 2.6 to 2.13), and what is left there counts as a global hook.
_HOOKS_WITH_KWARGS: dict[int, bool] = getattr(torch.nn.modules.module, "_global_forward_hooks_with_kwargs", {})

STAND_IN: Final = "_standing_in"
_FAST_PATH: Final = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


def _names(*names: str) -> list[Any]:
    """The functions of these names in torch, torch.nn.functional and Tensor, with in-place twins."""
    homes = (torch, F, Tensor, torch.special)
    return [
        getattr(home, variant)
        for name in names
        for variant in (name, f"{name}_")
        for home in homes
        if hasattr(home, variant)
    ]


_KINDS: Final[dict[Any, str]] = {
    function: kind
    for kind, names in {
        "relu": ("relu",),
        "leaky_relu": ("leaky_relu", "prelu", "rrelu"),
        "elu": ("elu",),
        "celu": ("celu",),
        "selu": ("selu",),
        "gelu": ("gelu",),
        "silu": ("silu",),
        "mish": ("mish",),
        "hardswish": ("hardswish",),
        "softplus": ("softplus",),
        "relu6": ("relu6",),
        "tanh": ("tanh",),
        "sigmoid": ("sigmoid", "expit"),
        "softsign": ("softsign",),
        "hardtanh": ("hardtanh",),
        "hardsigmoid": ("hardsigmoid",),
        "softmax": ("softmax",),
    }.items()
    for function in _names(*names)
}
_CLAMPS: Final = frozenset(_names("clamp", "clamp_min", "clip"))
_DIFFERENCES: Final = frozenset([*_names("sub", "subtract", "rsub"), Tensor.__sub__, Tensor.__rsub__, Tensor.__isub__])
_EQUALITIES: Final = frozenset([*_names("eq"), Tensor.__eq__])
_PRODUCTS: Final = frozenset([*_names("mul", "multiply"), Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__])
# Out of place only: what is made of a tensor, while it stays what it is.
_SCALINGS: Final = frozenset(
    [
        *(torch.mul, torch.multiply, torch.lerp, Tensor.mul, Tensor.multiply, Tensor.lerp),
        *(Tensor.__mul__, Tensor.__rmul__),
    ]
)
# Where the units lie in what a layer puts out: dimension 1 after convolutions, else the last.
_UNIT_DIMS: Final[dict[Any, int]] = {
    **dict.fromkeys(
        _names(
            "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
            "batch_norm", "group_norm", "instance_norm",
        ),
        1,
    ),
    **dict.fromkeys(
        [
            *_names("linear", "bilinear", "layer_norm", "rms_norm", "embedding"),
            *_names("matmul", "mm", "bmm", "addmm", "einsum"),
            Tensor.__matmul__, Tensor.__rmatmul__, torch._VF.lstm, torch._VF.gru,
        ],
        -1,
    ),
}  # fmt: skip
_LOSSES: Final[dict[Any, str]] = {
    getattr(F, name): name
    for name in (
        "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
        "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "gaussian_nll_loss",
        "poisson_nll_loss", "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
        "soft_margin_loss", "ctc_loss",
    )
}  # fmt: skip
_DROPOUTS: Final = frozenset(_names("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"))
_TWO_MODES: Final = (_DropoutNd, _NormBase)


@dataclass(frozen=True)
class CallKey:
    """Identity of a layer: the same call in the same module, however often it runs.

    Attributes:
        code, instruction: the user's call, as `code_id` and the offset in its bytecode.
    """

    module: str
    kind: str
    code: int
    instruction: int


@dataclass
class ActivationCall:
    """An activation function about to be applied.

    Attributes:
        key: which activation of the network this is.
        module: qualified name of the innermost running module, "" outside of any.
        is_module: whether that module is itself the activation (nn.ReLU), rather than its caller.
        kind: a key of stats.activation.ACTIVATIONS.
        pre: the preactivation, of any shape.
        unit_dim: the dimension of `pre` along which its units lie.
        function: the elementwise function as applied, to be applied again to samples.
        file, line: the user's line.
        order: rank among all calls of the interval.
    """

    key: CallKey
    module: str
    is_module: bool
    kind: str
    pre: Tensor
    unit_dim: int
    function: Callable[[Tensor], Tensor]
    file: str | None
    line: int | None
    order: int


@dataclass(frozen=True)
class ModelRun:
    """A module that was called from outside of any module has returned.

    Attributes:
        args, kwargs: what it was given, as it is after the call: a forward may change its input in place.
        training: whether gradients were enabled, or would have been in the step that a shadow forward repeats.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    training: bool


@dataclass(frozen=True)
class LayerCall:
    """A trained layer is about to be applied to data, that is to a tensor without gradient; or is the next one to run.

    Attributes:
        function: name of what computes it: "linear", "conv2d", "batch_norm", ...
        module: the innermost running module, None outside of any.
        source: the data, of any floating point type; None for the layer that runs next after such a one.
        unit_dim: the dimension of `source` along which its features lie.
    """

    function: str
    module: nn.Module | None
    source: Tensor | None
    unit_dim: int


@dataclass(frozen=True)
class LossCall:
    """A loss function of torch has returned, whether it was called by name or by a loss module.

    Attributes:
        name: of the function in torch.nn.functional.
        options: its other arguments by name (reduction, weight, ignore_index, ...), those not given left out.
        training: whether gradients were enabled.
        file, line: the user's line.
    """

    name: str
    input: Tensor
    target: Tensor
    options: Mapping[str, Any]
    result: Tensor
    training: bool
    file: str | None
    line: int | None

    @functools.cached_property
    def class_labels(self) -> Tensor | None:
        """The class of each example, shape (N,), if the target is one class per example; else None.

        Several collectors ask, and it takes looking at values: done once.
        """
        return class_labels(self.name, self.input, self.target)


class ForwardListener(Protocol):
    """Told what happens inside a forward pass; must not raise."""

    def root_called(self, module: nn.Module) -> None: ...
    def root_returned(self, module: nn.Module) -> None: ...
    def model_ran(self, run: ModelRun) -> None: ...
    def difference_taken(self, call: LossCall) -> None: ...
    def compared(self, first: Tensor, second: Tensor) -> None: ...
    def two_mode_ran(self, module: nn.Module, *, training: bool) -> None: ...
    def dropout_called(self, p: float, *, active: bool, training: bool, file: str | None, line: int | None) -> None: ...
    def loss_called(self, call: LossCall) -> None: ...
    def operands_enlarged(
        self, first: Tensor, second: Tensor, result: Tensor, file: str | None, line: int | None
    ) -> None: ...
    def module_ran(self, module: nn.Module, output: Any, *, order: int) -> None: ...
    def activation_begins(self, call: ActivationCall) -> None: ...
    def activation_ends(self, call: ActivationCall, output: Tensor) -> None: ...
    def gate_used(self, key: CallKey) -> None: ...
    def tensor_scaled(self, tensor: Tensor) -> None: ...
    def layer_called(self, call: LayerCall) -> None: ...
    def evaluation_loss(self, value: Tensor, *, summed: bool, examples: int) -> None: ...
    def module_name(self, module: nn.Module) -> str: ...
    def failed(self, error: Exception) -> None: ...


class _Mode(TorchFunctionMode):
    def __init__(self, tap: ForwardTap) -> None:
        super().__init__()
        self._tap = tap

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        try:
            finish = self._tap.function_begins(func, args, kwargs)
        except Exception as error:
            self._tap.listener.failed(error)
            finish = None
        result = _caller_of(sys._getframe(1))(func, args, kwargs)
        if finish is not None:
            try:
                finish(result)
            except Exception as error:
                self._tap.listener.failed(error)
        return result


def _standing_in(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


_stand_ins: dict[tuple[int, int], Callable[..., Any]] = {}


def _caller_of(frame: FrameType) -> Callable[..., Any]:
    """A function that calls another one as if from the user's line, which is `frame`'s or two above it.

    A warning names the line it was raised from, and is shown once per line: without this, a warning that torch
    raises in a function we have seen would name a line of ours.
    """
    if frame.f_code is handle_torch_function.__code__ and frame.f_back is not None and frame.f_back.f_back is not None:
        frame = frame.f_back.f_back
    stand_in = _stand_ins.get((id(frame.f_code), frame.f_lineno))
    if stand_in is None:
        code = _standing_in.__code__.replace(
            co_filename=frame.f_code.co_filename,
            co_firstlineno=frame.f_lineno - 1,
        )
        stand_in = FunctionType(code, frame.f_globals, STAND_IN)
        _stand_ins[code_id(frame.f_code), frame.f_lineno] = stand_in
    return stand_in


class ForwardTap:
    """Module hooks and a function mode that can be put in place and taken away at any moment."""

    def __init__(self, listener: ForwardListener) -> None:
        self.listener = listener
        self._mode = _Mode(self)
        self._handles: list[Any] = []
        self._thread = 0
        self._with_mode = self._shadow = False
        self._stack: list[nn.Module] = []
        self._lifted_by: nn.Module | None = None
        self._order = 0
        self._unit_dim = -1
        self._after_data = False
        self._gates: dict[int, tuple[weakref.ref[Tensor], CallKey]] = {}
        self.last_parametric_order = -1

    @property
    def installed(self) -> bool:
        return bool(self._handles)

    @property
    def running(self) -> tuple[int, ...]:
        """The ids of the modules whose forwards are running, the outermost first, as far as they are seen."""
        return tuple(map(id, self._stack))

    def install(self, *, mode: bool = True, shadow: bool = False) -> None:
        """Starts to see forward passes of this thread.

        Args:
            mode: see functional calls too, not only modules.
            shadow: what comes is a training forward, though gradients are off.
        """
        if self._handles:
            return
        self._thread = threading.get_ident()
        self._stack.clear()
        self._gates.clear()
        self._order, self._unit_dim, self.last_parametric_order = 0, -1, -1
        self._after_data = False
        self._handles = [
            register_module_forward_pre_hook(self._pre_hook),
            register_module_forward_hook(self._post_hook, with_kwargs=True, always_call=True),
        ]
        self._with_mode, self._shadow = mode, shadow
        if mode:
            _push_below(self._mode)

    def remove(self) -> None:
        """Leaves nothing behind; may be called from inside a forward pass, and twice."""
        for handle in self._handles:
            handle.remove()
            _HOOKS_WITH_KWARGS.pop(handle.id, None)
        self._handles.clear()
        self._stack.clear()
        self._gates.clear()
        self._lifted_by = None
        self._with_mode = False
        _take_out(self._mode)

    def lift(self) -> Callable[[], None] | None:
        """Takes the function mode away for a moment; the result, if any, puts it back."""
        if not self._with_mode or self._lifted_by is not None:
            return None
        _take_out(self._mode)
        return self._put_back

    def _put_back(self) -> None:
        if self._with_mode:
            _push_below(self._mode)

    def _training(self) -> bool:
        return self._shadow or torch.is_grad_enabled()

    # -- module hooks -------------------------------------------------------------------------------

    def _elsewhere(self) -> bool:
        """True in another thread (DataParallel), during recomputation in a backward, or when recorded."""
        return (
            not self._handles
            or threading.get_ident() != self._thread
            or torch._C._current_graph_task_id() != -1
            or not undisturbed()
        )

    def _pre_hook(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.compiler.is_compiling() or not self._handles or threading.get_ident() != self._thread:
            return
        try:
            if self._lifted_by is None and self._with_mode and _is_sensitive(module):
                self._lifted_by = module
                _take_out(self._mode)
            if self._elsewhere():
                return
            if not self._stack:
                self.listener.root_called(module)
            self._stack.append(module)
        except Exception as error:
            self.listener.failed(error)

    def _post_hook(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        output: Any,
    ) -> None:
        if torch.compiler.is_compiling() or not self._handles or threading.get_ident() != self._thread:
            return
        try:
            if self._lifted_by is module:
                self._lifted_by = None
                self._put_back()
            if self._elsewhere() or not any(entry is module for entry in self._stack):
                return
            while self._stack.pop() is not module:  # those above ended in an exception that was caught
                pass
            if output is not None and module._parameters and self._training():
                self._order += 1
                if not module._modules:
                    self.last_parametric_order = self._order
                self.listener.module_ran(module, output, order=self._order)
            if output is not None and isinstance(module, _TWO_MODES):
                self.listener.two_mode_ran(module, training=self._training())
            if not self._stack:
                self.listener.root_returned(module)
                if output is not None:
                    self.listener.model_ran(ModelRun(module, args, kwargs, output, self._training()))
        except Exception as error:
            self.listener.failed(error)

    # -- function mode ------------------------------------------------------------------------------

    def function_begins(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Callable[[Any], None] | None:
        """Looks at a call before it is made; returns what is to be done with its result, if anything."""
        kind = _KINDS.get(func)
        if kind is None:
            unit_dim = _UNIT_DIMS.get(func)
            if unit_dim is not None:
                self._saw_layer(func, unit_dim, args)
                return None
            if func in _SCALINGS:
                self._saw_scaling(args, kwargs)
            if func in _PRODUCTS:
                self._saw_product(args)
                return self._enlarged_reader(args)
            if func in _DIFFERENCES:
                return self._enlarged_reader(args) or self._difference_reader(args)
            if func in _LOSSES:
                return None if self._elsewhere() else self._loss_reader(_LOSSES[func], args, kwargs)
            if func in _EQUALITIES:
                self._saw_comparison(args)
                return None
            if func in _DROPOUTS:
                self._saw_dropout(args, kwargs)
                return None
            if func not in _CLAMPS or not _is_rectifier(args, kwargs):
                return None
            kind = "relu"
        if not self._training() or self._elsewhere():
            return None
        pre = args[0] if args else kwargs.get("input")
        if not isinstance(pre, Tensor) or not (pre.requires_grad or self._shadow):
            return None
        call = self._activation_call(func, kind, pre, args, kwargs)
        self.listener.activation_begins(call)

        def finish(result: Any) -> None:
            if isinstance(result, Tensor):
                if call.kind in ("sigmoid", "tanh", "hardsigmoid", "softmax"):
                    self._gates[id(result)] = (weakref.ref(result), call.key)
                self.listener.activation_ends(call, result)

        return finish

    def _activation_call(
        self, func: Any, kind: str, pre: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ActivationCall:
        self._order += 1
        innermost = self._stack[-1] if self._stack else None
        is_module = type(innermost).__module__ == activation_modules.__name__
        frame = user_frame()
        module = self.listener.module_name(innermost) if innermost is not None else ""
        code = frame.f_code if frame else None
        key = CallKey(module, kind, code_id(code) if code else 0, frame.f_lasti if frame else 0)
        if kind == "hardtanh" and _argument(args, kwargs, 1, "min_val", -1.0) == 0:
            kind = "relu6"
        unit_dim = self._unit_dim if pre.dim() > 2 or self._unit_dim == -1 else 1
        if kind == "softmax":
            unit_dim = _argument(args, kwargs, 1, "dim", -1)
            unit_dim = unit_dim if isinstance(unit_dim, int) else -1
        rest, options = args[1:], {k: v for k, v in kwargs.items() if k not in ("input", "inplace")}
        if kind == "softmax":  # samples have their units last
            func, rest, options = torch.softmax, (-1,), {}
        return ActivationCall(
            key=key,
            module=module,
            is_module=is_module,
            kind=kind,
            pre=pre,
            unit_dim=unit_dim if pre.dim() > 1 else 0,
            function=lambda sample: func(sample, *rest, **options),
            file=code.co_filename if code else None,
            line=frame.f_lineno if frame else None,
            order=self._order,
        )

    def _saw_layer(self, func: Any, unit_dim: int, args: tuple[Any, ...]) -> None:
        self._unit_dim = unit_dim
        takes_data = not self._shadow and torch.is_grad_enabled() and _takes_data(args)
        if (takes_data or self._after_data) and not self._elsewhere():
            module = self._stack[-1] if self._stack else None
            source = args[0] if takes_data else None
            self.listener.layer_called(LayerCall(func.__name__, module, source, unit_dim))
        self._after_data = takes_data
        # Outside of modules, a product with a trainable leaf is a layer.
        if not self._stack and any(isinstance(a, Tensor) and a.is_leaf and a.requires_grad for a in args):
            self._order += 1
            self.last_parametric_order = self._order

    def _loss_reader(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[[Any], None] | None:
        defaults = _defaults_of(name)
        given = {**dict(zip(defaults, args, strict=False)), **kwargs}
        source = given.pop("input", None) if name != "ctc_loss" else given.pop("log_probs", None)
        target = given.pop("target", None) if name != "ctc_loss" else given.pop("targets", None)
        if not isinstance(source, Tensor) or not isinstance(target, Tensor):
            return None
        options = {key: v for key, v in given.items() if isinstance(v, Tensor) or v != defaults.get(key)}
        training = self._training()
        site = call_site()

        def finish(result: Any) -> None:
            if not isinstance(result, Tensor):
                return
            file, line = site or (None, None)
            self.listener.loss_called(LossCall(name, source, target, options, result, training, file, line))
            reduction = options.get("reduction", "mean")
            if not training and result.dim() == 0 and target.dim() and reduction in ("mean", "sum"):
                examples = target.numel() if reduction == "sum" else target.shape[0]
                self.listener.evaluation_loss(result, summed=reduction == "sum", examples=examples)

        return finish

    def _enlarged_reader(self, args: tuple[Any, ...]) -> Callable[[Any], None] | None:
        """Looks for [N, 1] with [N], of which broadcasting makes [N, N]."""
        if len(args) < 2 or not isinstance(args[0], Tensor) or not isinstance(args[1], Tensor):
            return None
        first, second = args[0], args[1]
        if first.dim() == second.dim() or not (first.requires_grad or second.requires_grad):
            return None
        if not first.dim() or not second.dim() or first.shape[0] != second.shape[0] or self._elsewhere():
            return None

        def finish(result: Any) -> None:
            if isinstance(result, Tensor) and result.numel() > max(first.numel(), second.numel()):
                file, line = call_site() or (None, None)
                self.listener.operands_enlarged(first, second, result, file, line)

        return finish

    def _difference_reader(self, args: tuple[Any, ...]) -> Callable[[Any], None] | None:
        """Outside of modules the difference of outputs and data may be the beginning of a loss written by hand."""
        if self._stack or len(args) < 2 or not isinstance(args[0], Tensor) or not isinstance(args[1], Tensor):
            return None
        first, second = args[0], args[1]
        if first.requires_grad == second.requires_grad or first.shape != second.shape or self._elsewhere():
            return None
        learned, data = (first, second) if first.requires_grad else (second, first)

        def finish(result: Any) -> None:
            if isinstance(result, Tensor) and result.grad_fn is not None and not learned.is_leaf:
                file, line = call_site() or (None, None)
                self.listener.difference_taken(LossCall("difference", learned, data, {}, result, True, file, line))

        return finish

    def _saw_dropout(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self._elsewhere() or (self._stack and isinstance(self._stack[-1], _DropoutNd)):
            return  # a module of its own, which is told as such
        p, active = _argument(args, kwargs, 1, "p", 0.5), _argument(args, kwargs, 2, "training", True)
        if isinstance(p, int | float):
            file, line = call_site() or (None, None)
            self.listener.dropout_called(float(p), active=bool(active), training=self._training(), file=file, line=line)

    def _saw_comparison(self, args: tuple[Any, ...]) -> None:
        """Outside of modules whole numbers, or yes and no, that are compared may be answers and labels."""
        if self._stack or len(args) < 2 or self._shadow or self._elsewhere():
            return
        first, second = args[0], args[1]
        if not isinstance(first, Tensor) or not isinstance(second, Tensor) or first.shape != second.shape:
            return
        if first.dim() == 1 or (first.dim() == 2 and first.shape[1] == 1):
            self.listener.compared(first, second)

    def _saw_scaling(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Outside of modules a tensor without gradient, times a number or on its way to another, may be an average."""
        if self._stack or self._shadow or len(args) < 2 or "out" in kwargs:
            return
        first, second = args[0], args[1]
        if not isinstance(first, Tensor):
            first, second = second, first
        if not isinstance(first, Tensor) or not first.is_floating_point() or not first.dim():
            return
        is_number = isinstance(second, int | float) or (isinstance(second, Tensor) and not second.dim())
        is_blend = len(args) + len(kwargs) == 3 and isinstance(second, Tensor) and first.shape == second.shape
        if (is_number or is_blend) and not (first.requires_grad and torch.is_grad_enabled()) and not self._elsewhere():
            self.listener.tensor_scaled(first)

    def _saw_product(self, args: tuple[Any, ...]) -> None:
        for factor in args[:2]:
            reference, key = self._gates.get(id(factor), (None, None))
            if key is not None and reference is not None and reference() is factor:
                self.listener.gate_used(key)


def _takes_data(args: tuple[Any, ...]) -> bool:
    """Whether something trainable is applied to a floating point tensor that has no gradient."""
    source = args[0] if args else None
    if not isinstance(source, Tensor) or source.requires_grad or not source.is_floating_point():
        return False
    others = (item for arg in args[1:] for item in (arg if isinstance(arg, list | tuple) else (arg,)))
    return any(isinstance(item, Tensor) and item.requires_grad for item in others)


@functools.cache
def _defaults_of(loss: str) -> dict[str, Any]:
    """The arguments of a loss function in order, with their defaults."""
    return {name: p.default for name, p in inspect.signature(getattr(F, loss)).parameters.items()}


def _is_rectifier(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """`x.clamp(min=0)` is a ReLU written by hand."""
    low = _argument(args, kwargs, 1, "min", None)
    high = _argument(args, kwargs, 2, "max", None)
    return high is None and isinstance(low, int | float) and low == 0


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], index: int, name: str, default: Any) -> Any:
    return args[index] if len(args) > index else kwargs.get(name, default)


def _is_sensitive(module: nn.Module) -> bool:
    """Whether a mode would show in what this call gives: other bits of a fast path, other names of a trace."""
    if isinstance(module, _FAST_PATH) and not module.training:
        return True
    return torch._C._get_tracing_state() is not None


def modes_in_place() -> int:
    """How many function modes are on the stack, ours included."""
    return _len_torch_function_stack()


def _push_below(mode: TorchFunctionMode) -> None:
    """Puts `mode` at the bottom of the stack, or above a device context, which insists on the bottom."""
    above = [_pop_mode() for _ in range(_len_torch_function_stack())]
    if above and isinstance(above[-1], DeviceContext):
        _push_mode(above.pop())
    _push_mode(mode)
    for other in reversed(above):
        _push_mode(other)


def _take_out(mode: TorchFunctionMode) -> None:
    """Removes `mode` from wherever in the stack it is, if it is there.

    While torch runs a function that `mode` has seen, the mode is off the stack, and is put back afterwards:
    taking it out from inside such a call is in vain. `Tensor.backward` is one; the board speaks up before it.
    """
    above = [_pop_mode() for _ in range(_len_torch_function_stack())]
    for other in reversed(above):
        if other is not mode:
            _push_mode(other)
