"""One watch at work: hears from the board and from the forward pass, decides what to sample, tells collectors.

Time is divided into *intervals*, each from one optimizer step to the next. Before the user's code goes on
after a step, the schedule says whether the interval that begins is sampled; if so, hooks and mode are in
place until its backward (in the first intervals, until its step), and all that it brought is read at its end.

Everything that runs here is guarded and timed: an exception switches one collector off and is reported
once, never raised into the user's code; and what the watch costs is known.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect import _board
from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.activations import ActivationCollector, OutputCollector
from diagnose.collect.callsite import call_site
from diagnose.collect.evaluation import EvaluationCollector
from diagnose.collect.forward import ActivationCall, CallKey, ForwardTap, modes_in_place
from diagnose.collect.inventory import Inventory, unwrapped
from diagnose.collect.ledger import LedgerCollector
from diagnose.collect.loss import LossCollector
from diagnose.collect.nonfinite import NonFiniteCollector
from diagnose.collect.parameters import GradientCollector, UpdateCollector
from diagnose.collect.protocol import ProtocolCollector
from diagnose.collect.reading import Unseen, readable, undisturbed
from diagnose.collect.shadow import shadow_forward
from diagnose.history import History
from diagnose.schedule import DENSE_STEPS, Schedule

COLLECTORS: Final[tuple[type[Collector], ...]] = (
    # Later ones may read what earlier ones have recorded for the same event.
    LossCollector,
    ProtocolCollector,
    LedgerCollector,
    NonFiniteCollector,
    GradientCollector,
    UpdateCollector,
    ActivationCollector,
    OutputCollector,
    EvaluationCollector,
)
_FRUITLESS_EVALUATIONS: Final = 3
_BACKWARDS_WITHOUT_STEP: Final = 8


class _OwnTime:
    """Context in which we are at work: adds up the time, and swallows and reports what fails. Reentrant.

    The user's own function modes do not see it: even reading `tensor.grad` is a call to them. Entered several
    times per step, so it is one object that is used again, not a generator.
    """

    __slots__ = ("_begun_s", "_depth", "_guard", "_session", "total_s")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._depth = 0
        self._begun_s = 0.0
        self.total_s = 0.0

    def __enter__(self) -> None:
        if not self._depth:
            self._begun_s = time.perf_counter()
            self._guard = torch._C.DisableTorchFunction()
            self._guard.__enter__()
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._depth -= 1
        if not self._depth:
            self._guard.__exit__(None, None, None)
            self.total_s += time.perf_counter() - self._begun_s
        if isinstance(error, Exception):
            self._session.failed(error)
            return True
        return False

    def so_far_s(self) -> float:
        """Seconds until now, those of the running entry included."""
        return self.total_s + (time.perf_counter() - self._begun_s if self._depth else 0.0)


class Session:
    """Watches until `close`; fills `history`. Not for direct use: see `diagnose.watch`.

    Args:
        models, optimizers: what to watch; empty to discover it.
        schedule: when to sample.
        collectors: classes to use, for tests.
        after_step: called after each step, inside our own time, with the total number of steps.
        histogram: as Shared.histogram; called on few of the sampled steps.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        schedule: Schedule,
        collectors: Sequence[type[Collector]] = COLLECTORS,
        after_step: Callable[[int], None] | None = None,
        histogram: Callable[[str, int, Tensor], None] | None = None,
    ) -> None:
        self._began_s = time.perf_counter()
        self.history = History()
        self.inventory = Inventory(models, optimizers)
        self.schedule = schedule
        self._after_step = after_step
        self._histogram = histogram
        self._next_histogram = 1
        self.shared = Shared(self.history, self.inventory, {}, alarm=self._alarm)
        self.collectors = [collector(self.shared) for collector in collectors]
        self._handlers = self._find_handlers()
        self.tap = ForwardTap(self)
        self._total = 0
        self._sampled = False
        self._evaluating = False
        self._fruitless = 0
        self._losses_seen = 0
        self._shadow_refused: dict[int, str] = {}
        self._scaled: tuple[weakref.ref[Tensor], Tensor] | None = None
        self._stepping: list[tuple[Optimizer, Step | None]] = []
        self._backwards = 0
        self._own_reported_s = 0.0
        self._last_step_s = self._began_s
        self._own_time = _OwnTime(self)
        self._thread = threading.get_ident()
        self.closed = False
        _board.subscribe(self)
        self._own_time.total_s = time.perf_counter() - self._began_s
        with self._ours():
            self._begin_interval()

    def close(self) -> None:
        """Stops watching and leaves nothing behind. May be called twice."""
        if self.closed:
            return
        self.closed = True
        _board.unsubscribe(self)
        with self._ours():
            self.tap.remove()
            self._tell("finish")
        run = self.history.run
        run.wall_s, run.own_s = time.perf_counter() - self._began_s, self._own_time.total_s
        run.steps = self._total

    # -- guarding and timing --------------------------------------------------------------------------

    def _ours(self) -> _OwnTime:
        """Our own time; what fails in it stays in it."""
        return self._own_time

    def _find_handlers(self) -> dict[str, list[tuple[Collector, Callable[..., None]]]]:
        events = [name for name, value in vars(Collector).items() if callable(value) and name[0] != "_"]
        return {
            event: [
                (collector, getattr(collector, event))
                for collector in self.collectors
                if getattr(type(collector), event) is not getattr(Collector, event)
            ]
            for event in events
        }

    def _tell(self, event: str, *args: Any, **kwargs: Any) -> None:
        for collector, handler in self._handlers[event]:
            try:
                handler(*args, **kwargs)
            except Exception as error:
                self._switch_off(collector, error)
                break  # the lists have changed; the others hear the next event

    def _switch_off(self, collector: Collector, error: Exception) -> None:
        self.collectors = [other for other in self.collectors if other is not collector]
        self._handlers = self._find_handlers()
        self.failed(error, collector.name)
        with contextlib.suppress(Exception):
            collector.finish()  # it may hold hooks

    def failed(self, error: Exception, collector: str = "session") -> None:
        """Reports a failure of ours, once per collector."""
        if not self.history.count("collector-failed", collector):
            detail = "".join(traceback.format_exception(error))[-4000:]
            self.history.note(
                "collector-failed",
                self._total,
                collector,
                error=f"{type(error).__name__}: {error}",
                trace=detail,
            )

    def _foreign(self) -> bool:
        """True on a thread other than the one that trains: forward hooks of DataParallel's replicas."""
        return threading.get_ident() != self._thread

    # -- intervals --------------------------------------------------------------------------------------

    def _begin_interval(self) -> None:
        self._sampled = self.schedule.wants(self._total + 1)
        self._backwards = 0
        if self._sampled:
            self.shared.turn += 1
            drawing = self._histogram is not None and self.shared.turn >= self._next_histogram
            self.shared.histogram = self._histogram if drawing else None
            if drawing:
                self._next_histogram = self.shared.turn + 1 + self.shared.turn // 4
            self._tell("interval_begins")
            _board.watch_dynamo()
            self.tap.install()

    def _stop_forwards(self) -> None:
        if self.tap.installed:
            if self._sampled:
                self._tell("forwards_end", self.tap.last_parametric_order)
            self.tap.remove()
        self._evaluating = False

    def _alarm(self) -> None:
        self.schedule.alarm(self._total)

    # -- what the board says ----------------------------------------------------------------------------

    def backward_called(self) -> None:
        if not self._foreign():
            with self._ours():
                self._forwards_before_backward()

    def _forwards_before_backward(self) -> None:
        if self._evaluating:
            self._end_evaluation()
        # The mode must be off the stack while torch runs `backward`. In the first intervals the hooks come
        # back afterwards, for models that run a second time before the step.
        if self.tap.installed:
            self._stop_forwards()

    def backward_begins(self, roots: Sequence[Any], *, accumulates: bool) -> None:
        if self._foreign() or not accumulates:
            return
        with self._ours():
            self._forwards_before_backward()
            self._backwards += 1
            self._tell("backward_begins", self._read_loss(roots))

    def _read_loss(self, roots: Sequence[Any]) -> Loss | None:
        """On the CPU a loss is read at once; elsewhere a copy stays on the device until it can be read in bulk."""
        tensor = roots[0] if roots else None
        if not isinstance(tensor, Tensor) or not undisturbed() or not readable(tensor):
            self._scaled = None
            return None
        value = unscaled = None
        if tensor.numel() == 1:
            scaled, self._scaled = self._scaled, None
            with Unseen():
                number = scaled[1] if scaled is not None and scaled[0]() is tensor else tensor.detach()
                if number.device.type == "cpu":
                    value = number.item()
                else:
                    unscaled = number.reshape(()).to(torch.float32, copy=True)
        return Loss(tensor, call_site(), value, unscaled)

    def backward_ends(self) -> None:
        if not self._foreign() and self._backwards:
            with self._ours():
                self._tell("backward_ends")
                if self._sampled and self._total < DENSE_STEPS and self._backwards < _BACKWARDS_WITHOUT_STEP:
                    self.tap.install(mode=False)

    def step_begins(self, optimizer: Optimizer, *, closure: bool) -> None:
        self._thread = threading.get_ident()
        with self._ours():
            for index, (running, _) in enumerate(self._stepping):
                if running is optimizer:  # its last step raised before it ended
                    del self._stepping[index:]
                    break
            name = None if self._stepping else self.inventory.optimizer_name(optimizer)
            if name is None:  # not watched, or inside the step of another one (SAM, Lookahead)
                self._stepping.append((optimizer, None))
                return
            if not closure:
                self._stop_forwards()
            step = Step(
                optimizer=optimizer,
                name=name,
                number=self.shared.step_of.get(name, 0) + 1,
                total=self._total + 1,
                closure=closure,
                sampled=self._sampled,
            )
            self._stepping.append((optimizer, step))
            self._tell("step_begins", step)

    def step_ends(self, optimizer: Optimizer) -> None:
        with self._ours():
            while self._stepping:
                running, step = self._stepping.pop()
                if running is optimizer:
                    if step is not None:
                        self._end_step(step)
                    break

    def _end_step(self, step: Step) -> None:
        self._stop_forwards()
        self.shared.step_of[step.name] = step.number
        self._total = step.total
        self._tell("step_ends", step)
        now_s, own_s = time.perf_counter(), self._own_time.so_far_s()
        if step.sampled:
            self.history.run.models = [name for name, _ in self.inventory.models()]
            self.history.record("step_s", step.total, {"run": now_s - self._last_step_s})
            self.history.record("own_s", step.total, {"run": own_s - self._own_reported_s})
            self.history.run.sampled += 1
        self._last_step_s, self._own_reported_s = now_s, own_s
        run = self.history.run
        run.wall_s, run.own_s, run.steps = now_s - self._began_s, own_s, self._total
        if self._total <= DENSE_STEPS:
            run.startup_s = own_s
        if self._after_step is not None:
            self._after_step(step.total)
        self.schedule.spent(own_s=own_s, wall_s=run.wall_s, sampled=step.sampled)
        self._begin_interval()

    def step_skipped(self, optimizer: Optimizer, *, scale: float) -> None:
        with self._ours():
            self._tell("step_skipped", optimizer, scale)

    def gradients_cleared(self, owner: Optimizer | nn.Module) -> None:
        with self._ours():
            self._tell("gradients_cleared", owner)

    def gradients_clipped(self, parameters: list[Tensor], *, limit: float, norm: Tensor) -> None:
        with self._ours():
            value = norm.detach().item() if norm.device.type == "cpu" and undisturbed() else None
            self._tell("gradients_clipped", parameters, limit, value)

    def loss_scaled(self, loss: Tensor, scaled: Tensor) -> None:
        # The scaled loss may overflow while the scale is being searched for; what counts is what was scaled.
        self._scaled = (weakref.ref(scaled), loss.detach())

    def mode_set(self, module: nn.Module, *, training: bool) -> None:
        if self._foreign():
            return
        with self._ours():
            self._tell("mode_set", module, training=training)
            if training:
                self._end_evaluation()
            elif not self.tap.installed and self._fruitless < _FRUITLESS_EVALUATIONS:
                self._evaluating, self._losses_seen = True, 0
                self.tap.install()

    def _end_evaluation(self) -> None:
        """Loss functions were listened for; a program whose evaluation calls none is left in peace."""
        if self._evaluating:
            self._fruitless = 0 if self._losses_seen else self._fruitless + 1
            self._evaluating = False
            self.tap.remove()

    def compiled_code_runs(self) -> None:
        if self.tap.installed:
            with self._ours():
                if self._sampled:
                    self._tell("forwards_end", self.tap.last_parametric_order)
                self.tap.remove()

    def compiled_module_returned(self) -> None:
        if self._evaluating:  # the loss function is still to come
            self.tap.install()

    def compiled_module_called(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.compiled_code_runs()
        if not self._sampled or self._foreign() or not torch.is_grad_enabled() or self._backwards:
            return
        if not undisturbed() or modes_in_place():  # a mode of the user's would see it
            return
        with self._ours():
            model = unwrapped(module)
            self.inventory.saw_forward(model)
            if id(model) in self._shadow_refused:
                return
            with torch._C._EnableTorchFunction():  # our own mode must see it
                reason = shadow_forward(model, args, kwargs, self.tap)
            self._tell("forwards_end", self.tap.last_parametric_order)
            if reason:
                self._shadow_refused[id(model)] = reason
                name = self.inventory.module_name(model) or type(model).__name__
                self.history.note("not-seen", self._total + 1, name, reason=reason)

    def forked(self) -> None:
        """In the child: nothing is watched there, and the parent's files are not touched."""
        self.closed = True
        self.tap.remove()

    # -- what the forward pass says -----------------------------------------------------------------------

    def root_called(self, module: nn.Module) -> None:
        if self._sampled:
            with self._ours():
                self.inventory.saw_forward(module)

    def root_returned(self, module: nn.Module) -> None:
        with self._ours():
            self._tell("root_returned", module, self.tap.last_parametric_order)

    def module_ran(self, module: nn.Module, output: Any, *, order: int) -> None:
        if self._sampled:
            with self._ours():
                self._tell("module_ran", module, output, order)

    def activation_begins(self, call: ActivationCall) -> None:
        if self._sampled:
            with self._ours():
                self._tell("activation_begins", call)

    def activation_ends(self, call: ActivationCall, output: Tensor) -> None:
        if self._sampled:
            with self._ours():
                self._tell("activation_ends", call, output)

    def gate_used(self, key: CallKey) -> None:
        with self._ours():
            self._tell("gate_used", key)

    def evaluation_loss(self, value: Tensor, *, summed: bool, examples: int) -> None:
        self._losses_seen += 1
        with self._ours():
            self._tell("evaluation_loss", value, summed=summed, examples=examples)

    def module_name(self, module: nn.Module) -> str:
        name = self.inventory.module_name(module)
        return type(module).__name__ if name is None else name
