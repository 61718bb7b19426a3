"""The switchboard: torch is patched once per process, every listener is told what happens.

Patched are only functions that nobody stores, pickles or scripts: the one door to the autograd engine,
`zero_grad`, `Module.train`, `Module.state_dict` and `load_state_dict`, the entry of a block without gradients,
GradScaler's and clipping's inner steps, how a scheduler, a weighted sampler or a pass over a DataLoader begins,
`torch.compile`.
`F.relu` and its like are never replaced; forward.py reads them by a mode. A patch is taken back only if it is still
ours; if somebody has patched over it, it stays, and does nothing. In a forked child nobody listens.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType, FunctionType, MethodType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.amp import grad_scaler
from torch.nn.utils import clip_grad
from torch.optim import Optimizer, lr_scheduler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.data import DataLoader, WeightedRandomSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from diagnose.collect.callsite import code_id, is_ours_or_torchs


class Listener(Protocol):
    """What happens to a training run, in the order in which it happens. None of these may raise.

    A listener sleeps most of the time. After the heavy work of a step all caches are cold, and every function
    called then costs ten to twenty times what it costs in a loop: so while nobody is awake, only a loss and the
    end of a step are told, with as little code on the way as can be.
    """

    awake: bool

    def loss_seen(self, roots: Sequence[Any]) -> None: ...
    def step_ends(self, optimizer: Optimizer) -> None: ...

    # Only while somebody is awake.
    def backward_called(self) -> None: ...
    def backward_ends(self) -> None: ...
    def step_begins(self, optimizer: Optimizer, *, closure: bool) -> None: ...

    # Rare, or made by the user at a price beside which ours is small.
    def step_skipped(self, optimizer: Optimizer, *, scale: float) -> None: ...
    def mode_lifted(self) -> Callable[[], None] | None: ...
    def gradients_cleared(self, owner: Optimizer | torch.nn.Module) -> None: ...
    def gradients_clipped(self, parameters: list[Tensor], *, limit: float, norm: Tensor) -> None: ...
    def gradients_clamped(self, gradients: list[Tensor], *, limit: float) -> None: ...
    def gradients_unscaled(self, optimizer: Optimizer, *, scale: float) -> None: ...
    def scheduler_made(self, scheduler: Any) -> None: ...
    def sampler_made(self, sampler: WeightedRandomSampler) -> None: ...
    def sampler_used(self, sampler: WeightedRandomSampler) -> None: ...
    def loss_scaled(self, loss: Tensor, scaled: Tensor) -> None: ...
    def mode_set(self, module: torch.nn.Module, *, training: bool) -> None: ...
    def gradients_off(self, place: tuple[int, int]) -> None: ...
    def loader_begins(self, place: tuple[int, int]) -> None: ...

    # Only after `watch_batches`.
    def batches_reset(self, iterator: Any) -> None: ...
    def indices_drawn(self, iterator: Any, indices: Any) -> None: ...
    def batch_yielded(self, iterator: Any, data: Any) -> None: ...
    def state_taken(self, module: torch.nn.Module, state: Any) -> None: ...
    def state_loads(self, module: torch.nn.Module, state: Any) -> None: ...
    def state_loaded(self, module: torch.nn.Module, state: Any, missing: list[str], unexpected: list[str]) -> None: ...
    def compiled_code_runs(self) -> None: ...
    def compiled_module_called(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None: ...
    def compiled_module_returned(self, module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None: ...
    def compiled_function_called(self, name: str) -> None: ...
    def forked(self) -> None: ...


_listeners: list[Listener] = []
_patches: list[_Patch] = []
_hooks: list[Any] = []
_lock = threading.RLock()
_eager = False
_in_compiled_module = False
_awake = False


class _Patch:
    """One replaced attribute: `wrap(original)` stands in its place until `remove`."""

    def __init__(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        self.owner, self.name = owner, name
        self.original = getattr(owner, name)
        self.ours = functools.wraps(self.original)(wrap(self.original))
        setattr(owner, name, self.ours)

    def remove(self) -> None:
        if getattr(self.owner, self.name, None) is self.ours:
            setattr(self.owner, self.name, self.original)


def subscribe(listener: Listener) -> None:
    """From now on `listener` is told what happens; the first one has torch patched."""
    with _lock:
        first = not _listeners
        _listeners.append(listener)
        if first:
            _install()


def unsubscribe(listener: Listener) -> None:
    """The last listener to leave has the patches taken back. Does nothing for a stranger."""
    with _lock:
        if listener in _listeners:
            _listeners.remove(listener)
            wake_or_sleep()
            if not _listeners:
                _uninstall()


def wake_or_sleep() -> None:
    """To be called by a listener that has changed its `awake`."""
    global _awake
    _awake = any(listener.awake for listener in _listeners)


def _silent() -> bool:
    """True where nobody listens or nothing may be done: under dynamo's tracing."""
    return not _listeners or torch.compiler.is_compiling()


def _in_backward() -> bool:
    return bool(torch._C._current_graph_task_id() != -1)


# -- the patches ---------------------------------------------------------------------------------


def _wrap_backward(original: Callable[..., Any]) -> Callable[..., Any]:
    def backward(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        # Before torch looks for function modes: while it runs `backward` for one, that mode cannot be removed.
        if _awake and not _silent() and not _in_backward():
            for listener in tuple(_listeners):
                listener.backward_called()
        return original(self, *args, **kwargs)

    return backward


def _wrap_engine(original: Callable[..., Any]) -> Callable[..., Any]:
    def run_backward(t_outputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        # Not autograd.grad; not a backward inside a backward, as reentrant checkpointing makes.
        if not kwargs.get("accumulate_grad") or _silent() or _in_backward():
            return original(t_outputs, *args, **kwargs)
        listeners = tuple(_listeners)
        for listener in listeners:
            listener.loss_seen(t_outputs)
        if not _awake:
            return original(t_outputs, *args, **kwargs)
        try:
            return original(t_outputs, *args, **kwargs)
        finally:
            for listener in listeners:
                listener.backward_ends()

    return run_backward


def _wrap_zero_grad(original: Callable[..., Any]) -> Callable[..., Any]:
    def zero_grad(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _awake or _silent():
            return original(self, *args, **kwargs)
        listeners = tuple(_listeners)
        # It touches every gradient, and each touch is a call to a function mode.
        lifted = [put_back for listener in listeners if (put_back := listener.mode_lifted()) is not None]
        try:
            result = original(self, *args, **kwargs)
        finally:
            for put_back in lifted:
                put_back()
        for listener in listeners:
            listener.gradients_cleared(self)
        return result

    return zero_grad


class _Recursion(threading.local):
    inside = False


def _wrap_recursive(tell: Callable[[Listener, torch.nn.Module, Any], None]) -> Callable[..., Any]:
    """For a method of modules that goes through their children: only the outermost call is news."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        here = _Recursion()

        def method(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            if here.inside:
                return original(self, *args, **kwargs)
            here.inside = True
            try:
                result = original(self, *args, **kwargs)
            finally:
                here.inside = False
            if not _silent():
                for listener in tuple(_listeners):
                    tell(listener, self, result)
            return result

        return method

    return wrap


def _tell_mode(listener: Listener, module: torch.nn.Module, result: Any) -> None:
    listener.mode_set(module, training=module.training)


def _tell_state(listener: Listener, module: torch.nn.Module, state: Any) -> None:
    listener.state_taken(module, state)


def _wrap_enter(original: Callable[..., Any]) -> Callable[..., Any]:
    # Entered by optimizers and schedulers too, on every step: as little as can be until the place is known.
    def enter(self: Any) -> Any:
        result = original(self)
        if not _silent():
            frame = sys._getframe(1)
            if frame.f_code.co_name == "decorate_context" and frame.f_back is not None:
                frame = frame.f_back  # `@torch.no_grad()`: the line that calls the function
            _tell_gradients_off(frame)
        return result

    return enter


def _wrap_enter_if_off(original: Callable[..., Any]) -> Callable[..., Any]:
    def enter(self: Any) -> Any:
        result = original(self)
        if not self.mode and not _silent():
            _tell_gradients_off(sys._getframe(1))  # `with torch.set_grad_enabled(training):`
        return result

    return enter


def _wrap_loader(original: Callable[..., Any]) -> Callable[..., Any]:
    def __iter__(self: Any) -> Any:  # noqa: N807 (it stands in its place)
        if not _silent():
            frame = sys._getframe(1)
            for listener in tuple(_listeners):
                listener.loader_begins((code_id(frame.f_code), frame.f_lineno))
        return original(self)

    return __iter__


def _wrap_sampler(original: Callable[..., Any]) -> Callable[..., Any]:
    def init(self: WeightedRandomSampler, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if not _silent():
            for listener in tuple(_listeners):
                listener.sampler_made(self)

    return init


def _wrap_drawing(original: Callable[..., Any]) -> Callable[..., Any]:
    def __iter__(self: WeightedRandomSampler) -> Any:  # noqa: N807 (it stands in its place)
        if not _silent():
            for listener in tuple(_listeners):
                listener.sampler_used(self)
        return original(self)

    return __iter__


def watch_batches() -> None:
    """From now on listeners hear of the batches of DataLoaders, and of the indices that are drawn for them."""
    if any(patch.owner is _BaseDataLoaderIter for patch in _patches):
        return
    for name, wrap in (("_reset", _wrap_reset), ("_next_index", _wrap_next_index), ("__next__", _wrap_next)):
        if hasattr(_BaseDataLoaderIter, name):  # private
            _patches.append(_Patch(_BaseDataLoaderIter, name, wrap))


def _wrap_reset(original: Callable[..., Any]) -> Callable[..., Any]:
    def _reset(self: Any, *args: Any, **kwargs: Any) -> Any:
        for listener in tuple(_listeners):
            listener.batches_reset(self)
        return original(self, *args, **kwargs)

    return _reset


def _wrap_next_index(original: Callable[..., Any]) -> Callable[..., Any]:
    def _next_index(self: Any) -> Any:
        indices = original(self)
        for listener in tuple(_listeners):
            listener.indices_drawn(self, indices)
        return indices

    return _next_index


def _wrap_next(original: Callable[..., Any]) -> Callable[..., Any]:
    def __next__(self: Any) -> Any:  # noqa: N807 (it stands in its place)
        data = original(self)
        for listener in tuple(_listeners):
            listener.batch_yielded(self, data)
        return data

    return __next__


def _tell_gradients_off(frame: FrameType) -> None:
    if not is_ours_or_torchs(frame.f_code):
        for listener in tuple(_listeners):
            listener.gradients_off((code_id(frame.f_code), frame.f_lineno))


def _wrap_load_state_dict(original: Callable[..., Any]) -> Callable[..., Any]:
    def load_state_dict(self: torch.nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        listeners = () if _silent() else tuple(_listeners)
        for listener in listeners:
            listener.state_loads(self, state_dict)
        result = original(self, state_dict, *args, **kwargs)
        if result is not None:
            for listener in listeners:
                listener.state_loaded(self, state_dict, list(result.missing_keys), list(result.unexpected_keys))
        return result

    return load_state_dict


def _wrap_clip(original: Callable[..., Any]) -> Callable[..., Any]:
    def clip_grads_with_norm(parameters: Any, max_norm: float, total_norm: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not _silent():
            tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
            parameters = tensors
            for listener in tuple(_listeners):
                listener.gradients_clipped(tensors, limit=float(max_norm), norm=total_norm)
        return original(parameters, max_norm, total_norm, *args, **kwargs)

    return clip_grads_with_norm


def _wrap_grouping(original: Callable[..., Any]) -> Callable[..., Any]:
    """Hears of clipping by value in the function that it calls first: users store `clip_grad_value_` itself."""

    def group_tensors(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        if _awake and not _silent():
            caller = sys._getframe(1)
            if caller.f_code.co_name == "clip_grad_value_":
                limit = float(caller.f_locals.get("clip_value", float("inf")))
                for listener in tuple(_listeners):
                    listener.gradients_clamped(list(tensors[0]), limit=limit)
        return original(tensors, *args, **kwargs)

    return group_tensors


def _wrap_unscale(original: Callable[..., Any]) -> Callable[..., Any]:
    def unscale_(self: grad_scaler.GradScaler, optimizer: Optimizer) -> Any:
        if _awake and not _silent() and self.is_enabled():
            for listener in tuple(_listeners):
                listener.gradients_unscaled(optimizer, scale=float(self.get_scale()))
        return original(self, optimizer)

    return unscale_


def _wrap_scheduler(original: Callable[..., Any]) -> Callable[..., Any]:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if not _silent():
            for listener in tuple(_listeners):
                listener.scheduler_made(self)

    return init


def _wrap_scale(original: Callable[..., Any]) -> Callable[..., Any]:
    def scale(self: grad_scaler.GradScaler, outputs: Any) -> Any:
        scaled = original(self, outputs)
        if not _silent() and isinstance(outputs, Tensor) and scaled is not outputs:
            for listener in tuple(_listeners):
                listener.loss_scaled(outputs, scaled)
        return scaled

    return scale


def _wrap_maybe_step(original: Callable[..., Any]) -> Callable[..., Any]:
    def maybe_opt_step(
        self: grad_scaler.GradScaler,
        optimizer: Optimizer,
        state: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        result = original(self, optimizer, state, *args, **kwargs)
        # The scaler has just read these flags itself to decide, so reading them again costs no new sync.
        if not _silent() and any(float(v) > 0 for v in state["found_inf_per_device"].values()):
            for listener in tuple(_listeners):
                listener.step_skipped(optimizer, scale=float(self.get_scale()))
        return result

    return maybe_opt_step


def _wrap_compile(original: Callable[..., Any]) -> Callable[..., Any]:
    def compile(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        watch_dynamo()
        return result

    return compile


# -- dynamo ----------------------------------------------------------------------------------------


def watch_dynamo() -> None:
    """Hears when compiled code is about to run, if the program has loaded torch._dynamo; does not load it.

    Hooks and modes are part of what compiled code is guarded by: it would be compiled once more for them.
    """
    eval_frame = sys.modules.get("torch._dynamo.eval_frame")
    if eval_frame is None or not _listeners or any(patch.owner is eval_frame for patch in _patches):
        return
    # Asked for the callback to run under on every entry into compiled code, before any guard is looked at.
    if hasattr(eval_frame, "_callback_from_stance"):
        _patches.append(_Patch(eval_frame, "_callback_from_stance", _wrap_entry))
    if hasattr(eval_frame, "_maybe_set_eval_frame"):
        _patches.append(_Patch(eval_frame, "_maybe_set_eval_frame", _wrap_exit))
    _patches.append(_Patch(eval_frame.OptimizedModule, "__call__", _wrap_compiled_call))


def _wrap_entry(original: Callable[..., Any]) -> Callable[..., Any]:
    def callback_from_stance(callback: Any) -> Any:
        if _awake and callback not in (None, False) and not _eager:
            listeners = tuple(_listeners)
            for listener in listeners:
                listener.compiled_code_runs()
            if not _in_compiled_module and not _in_backward():
                _tell_entry(sys._getframe(1), listeners)
        return original(callback)

    return callback_from_stance


def _wrap_exit(original: Callable[..., Any]) -> Callable[..., Any]:
    def maybe_set_eval_frame(callback: Any) -> Any:
        result = original(callback)
        # Where a callback was set, dynamo would compile any function that was called from here on.
        if callback is None and _awake and not _eager and not _in_compiled_module and not _in_backward():
            variables = sys._getframe(1).f_locals
            module = _compiled_in_place(variables)
            if module is not None and "result" in variables:
                for listener in tuple(_listeners):
                    listener.compiled_module_returned(
                        module, variables["args"], variables["kwargs"], variables["result"]
                    )
        return result

    return maybe_set_eval_frame


def _tell_entry(entry: FrameType, listeners: Sequence[Listener]) -> None:
    variables = entry.f_locals
    module, function = _compiled_in_place(variables), variables.get("fn")
    if module is not None:
        for listener in listeners:
            listener.compiled_module_called(module, variables["args"], variables["kwargs"])
    elif isinstance(function, FunctionType | MethodType) and not (function.__module__ or "").startswith("torch."):
        for listener in listeners:
            listener.compiled_function_called(function.__name__)


def _compiled_in_place(variables: Mapping[str, Any]) -> torch.nn.Module | None:
    """The module of a `module.compile()` or of a compiled `forward`, None where something else was compiled.

    Args:
        variables: the local variables of dynamo's wrapper, in which alone it stands: it calls `fn` with `args`
            and `kwargs`.
    """
    function = variables.get("fn")
    if not isinstance(function, MethodType) or function.__name__ not in ("_call_impl", "forward"):
        return None
    if not isinstance(function.__self__, torch.nn.Module) or not {"args", "kwargs"} <= variables.keys():
        return None
    return function.__self__


@contextlib.contextmanager
def eager_only() -> Iterator[None]:
    """Within it compiled modules run as what they were made from; a shadow forward's own nested ones do."""
    global _eager
    _eager = True
    try:
        yield
    finally:
        _eager = False


def _wrap_compiled_call(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        global _in_compiled_module
        if _eager:
            return self._orig_mod(*args, **kwargs)  # type: ignore[operator]
        if _silent() or _in_backward():
            return original(self, *args, **kwargs)
        for listener in tuple(_listeners):
            listener.compiled_module_called(self, args, kwargs)
        outer, _in_compiled_module = _in_compiled_module, True  # the code that is entered now has been told of
        try:
            result = original(self, *args, **kwargs)
        finally:
            _in_compiled_module = outer
        for listener in tuple(_listeners):
            listener.compiled_module_returned(self, args, kwargs, result)
        return result

    return call


# -- optimizer hooks, forks, installing --------------------------------------------------------------


def _step_pre_hook(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if _awake and not _silent():
        # In a global hook `args` may or may not begin with the optimizer itself (torch 2.6 to 2.13 differ).
        closures = [a for a in (*args, *kwargs.values()) if callable(a) and a is not optimizer]
        for listener in tuple(_listeners):
            listener.step_begins(optimizer, closure=bool(closures))


def _step_post_hook(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not _silent():
        for listener in tuple(_listeners):
            listener.step_ends(optimizer)


def _install() -> None:
    _mind_forks()
    _patches.append(_Patch(Tensor, "backward", _wrap_backward))
    _patches.append(_Patch(torch.autograd, "_engine_run_backward", _wrap_engine))
    _patches.append(_Patch(Optimizer, "zero_grad", _wrap_zero_grad))
    _patches.append(_Patch(torch.nn.Module, "zero_grad", _wrap_zero_grad))
    _patches.append(_Patch(torch.nn.Module, "train", _wrap_recursive(_tell_mode)))
    _patches.append(_Patch(torch.nn.Module, "state_dict", _wrap_recursive(_tell_state)))
    _patches.append(_Patch(torch.nn.Module, "load_state_dict", _wrap_load_state_dict))
    _patches.append(_Patch(torch, "compile", _wrap_compile))
    _patches.append(_Patch(torch.no_grad, "__enter__", _wrap_enter))
    _patches.append(_Patch(torch.inference_mode, "__enter__", _wrap_enter))
    _patches.append(_Patch(torch.set_grad_enabled, "__enter__", _wrap_enter_if_off))
    _patches.append(_Patch(DataLoader, "__iter__", _wrap_loader))
    _patches.append(_Patch(WeightedRandomSampler, "__init__", _wrap_sampler))
    _patches.append(_Patch(WeightedRandomSampler, "__iter__", _wrap_drawing))
    for owner, name, wrap in (  # private: absent in some versions, and then unseen
        (clip_grad, "_clip_grads_with_norm_", _wrap_clip),
        (clip_grad, "_group_tensors_by_device_and_dtype", _wrap_grouping),
        (grad_scaler.GradScaler, "unscale_", _wrap_unscale),
        (lr_scheduler.LRScheduler, "__init__", _wrap_scheduler),
        (lr_scheduler.ReduceLROnPlateau, "__init__", _wrap_scheduler),
        (grad_scaler.GradScaler, "scale", _wrap_scale),
        (grad_scaler.GradScaler, "_maybe_opt_step", _wrap_maybe_step),
    ):
        if hasattr(owner, name):
            _patches.append(_Patch(owner, name, wrap))
    _hooks.append(register_optimizer_step_pre_hook(_step_pre_hook))
    _hooks.append(register_optimizer_step_post_hook(_step_post_hook))
    watch_dynamo()


def _uninstall() -> None:
    for patch in reversed(_patches):
        patch.remove()
    _patches.clear()
    for hook in _hooks:
        hook.remove()
    _hooks.clear()


def _after_fork_in_child() -> None:
    for listener in _listeners:
        listener.forked()
    _listeners.clear()
    wake_or_sleep()


@functools.cache
def _mind_forks() -> None:
    """Once per process: there is no way to unregister, and with no listener it does nothing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork_in_child)
