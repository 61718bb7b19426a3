"""One watch at work: hears from the board and from the forward pass, decides what to sample, tells collectors.

Time is divided into *intervals*, each from one optimizer step to the next. Before the user's code goes on
after a step, the schedule says whether the interval that begins is sampled; if so, hooks and mode are in
place until its backward (in the first intervals, until its step), and all that it brought is read at its end.

Everything that runs here is guarded and timed: an exception switches one collector off and is reported
once, never raised into the user's code; and what the watch costs is known.
"""

from __future__ import annotations

import contextlib
import sys
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
from diagnose.collect._collector import (
    FULL_IN_A_ROW,
    PROBE_SECONDS,
    THOROUGH_TURNS,
    Collector,
    Loss,
    Shared,
    Step,
)
from diagnose.collect.accuracy import AccuracyCollector
from diagnose.collect.activations import ActivationCollector, OutputCollector
from diagnose.collect.averages import CopyCollector
from diagnose.collect.callsite import call_site, code_id, is_inside_of_a_step
from diagnose.collect.checkpoints import CheckpointCollector
from diagnose.collect.clipping import ClippingCollector
from diagnose.collect.copies import TyingCollector
from diagnose.collect.counterfactuals import CounterfactualCollector
from diagnose.collect.discards import DiscardCollector
from diagnose.collect.dissent import DissentCollector
from diagnose.collect.evaluation import EvaluationCollector
from diagnose.collect.examples import ExampleTracker
from diagnose.collect.forward import ActivationCall, CallKey, ForwardTap, LayerCall, LossCall, ModelRun, modes_in_place
from diagnose.collect.handmade import HandmadeCollector
from diagnose.collect.inputs import InputCollector
from diagnose.collect.inventory import Inventory, unwrapped
from diagnose.collect.labels import LabelCollector
from diagnose.collect.leaves import LeafCollector
from diagnose.collect.ledger import LedgerCollector
from diagnose.collect.lifetimes import LifetimeCollector
from diagnose.collect.loss import LossCollector, LossPlace
from diagnose.collect.modes import ModesCollector
from diagnose.collect.neighbours import NeighbourCollector
from diagnose.collect.nonfinite import NonFiniteCollector
from diagnose.collect.objective import ObjectiveCollector
from diagnose.collect.parameters import GradientCollector, UpdateCollector
from diagnose.collect.phases import MODEL_EVAL, Phases, Place
from diagnose.collect.probes import ProbeCollector
from diagnose.collect.protocol import ProtocolCollector
from diagnose.collect.reading import readable, undisturbed
from diagnose.collect.restored import RestoredCollector
from diagnose.collect.rows import RowCollector
from diagnose.collect.samplers import SamplerCollector
from diagnose.collect.schedulers import SchedulerCollector
from diagnose.collect.shadow import shadow_forward
from diagnose.collect.sharing import SharingCollector
from diagnose.collect.symmetry import SymmetryCollector
from diagnose.collect.unused import UnusedCollector
from diagnose.history import History
from diagnose.schedule import ALARM_STEPS, DENSE_STEPS, BudgetSteps, Schedule

COLLECTORS: Final[tuple[type[Collector], ...]] = (
    # Later ones may read what earlier ones have recorded for the same event.
    LossCollector,
    ProtocolCollector,
    HandmadeCollector,
    DiscardCollector,
    SharingCollector,
    ClippingCollector,
    SchedulerCollector,
    SamplerCollector,
    LedgerCollector,
    LeafCollector,
    SymmetryCollector,
    TyingCollector,
    CopyCollector,
    CheckpointCollector,
    RestoredCollector,
    LifetimeCollector,
    GradientCollector,
    NonFiniteCollector,
    UpdateCollector,
    ActivationCollector,
    OutputCollector,
    EvaluationCollector,
    AccuracyCollector,
    LabelCollector,
    ObjectiveCollector,
    ModesCollector,
    UnusedCollector,
    InputCollector,
    RowCollector,
    NeighbourCollector,
    DissentCollector,
    ProbeCollector,  # last: they run the model
    CounterfactualCollector,
)
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

    @property
    def running(self) -> bool:
        """Whether what runs now is ours."""
        return self._depth > 0

    def so_far_s(self) -> float:
        """Seconds until now, those of the running entry included."""
        return self.total_s + (time.perf_counter() - self._begun_s if self._depth else 0.0)


class Session:
    """Watches until `close`; fills `history`. Not for direct use: see `diagnose.watch`.

    Args:
        models, optimizers: what to watch; empty to discover it.
        schedule: when to sample.
        probe_seconds: as Shared.probe_seconds.
        collectors: classes to use, for tests.
        after_step: called now and then after a step, inside our own time, with the total number of steps; returns
            the time (`time.perf_counter`) before which it need not be called again.
        histogram: as Shared.histogram; called on few of the sampled steps.
        track_examples: whether the margin of each training example is kept; see collect/examples.py.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        schedule: Schedule,
        probe_seconds: float = PROBE_SECONDS,
        collectors: Sequence[type[Collector]] = COLLECTORS,
        after_step: Callable[[int], float] | None = None,
        histogram: Callable[[str, int, Tensor], None] | None = None,
        track_examples: bool = False,
    ) -> None:
        self._began_s = time.perf_counter()
        self.history = History()
        self.inventory = Inventory(models, optimizers)
        self.schedule = schedule
        self._after_step = after_step
        self._histogram = histogram
        self._next_histogram = 1
        self.shared = Shared(self.history, self.inventory, {}, probe_seconds=probe_seconds)
        self.collectors = [collector(self.shared) for collector in collectors]
        self._sampled = False
        self._find_handlers()
        self._losses = self._find_losses()
        self.examples = ExampleTracker() if track_examples else None
        self._tracks = track_examples
        self._evaluations_known: dict[str, int] = {}
        self.tap = ForwardTap(self)
        self.awake = False
        self._total = 0
        self._wake_at = 1
        self._jumped_until = 0
        self._compiled_inside: tuple[int, ...] = ()
        self._phases = Phases()
        self._evaluating: Place | None = None
        self._evaluated = False
        self._loaders = Phases()
        self._reading: Place | None = None
        self._runs_read = 0
        self._shadow_refused: dict[int, str] = {}
        self._scaled: tuple[weakref.ref[Tensor], Tensor] | None = None
        self._stepping: list[tuple[Optimizer, Step | None]] = []
        self._inner: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._names: dict[int, str] = {}
        self._named: dict[int, weakref.ref[Optimizer]] = {}
        self._taking_turns: set[str] = set()
        self._places: dict[Place, LossPlace] = {}
        self._backwards = 0
        self._own_reported_s = 0.0
        self._startup_s = 0.0
        self._last_step_s = self._began_s
        self._next_call_s = 0.0
        self._own_time = _OwnTime(self)
        self._thread = threading.get_ident()
        self.closed = False
        _board.subscribe(self)
        if track_examples:
            _board.watch_batches()
        self._own_time.total_s = time.perf_counter() - self._began_s
        with self._ours():
            for name, optimizer in self.inventory.optimizers():
                self._keep_name(optimizer, name)
                self.shared.step_of[name] = 0
            self._wake_at = schedule.next_after(0)
            self._begin_interval(None)

    def close(self) -> None:
        """Stops watching and leaves nothing behind. May be called twice."""
        if self.closed:
            return
        self.closed = True
        _board.unsubscribe(self)
        with self._ours():
            self.tap.remove()
            self._end_evaluation()
            self._end_reading()
            self._sampled = False
            self._choose_handlers()
            self._tell("finish")
            self._take_in_evaluations()
            if self._tracks and self.examples is not None:
                try:
                    self.examples.flush()
                except Exception as error:
                    self._end_tracking(error)
        self.take_stock()

    def take_stock(self) -> None:
        """Brings `history` up to now: losses that wait, times, counts."""
        with self._ours():
            self._tell_one(LossCollector, "flush")
            for name, facts in self.history.optimizers.items():
                facts.steps = self.shared.step_of.get(name, facts.steps)
        run = self.history.run
        run.wall_s, run.own_s = time.perf_counter() - self._began_s, self._own_time.so_far_s()
        run.steps = self._total

    # -- guarding and timing --------------------------------------------------------------------------

    def _ours(self) -> _OwnTime:
        """Our own time; what fails in it stays in it."""
        return self._own_time

    def _find_handlers(self) -> None:
        """Who hears which event: all collectors, those that hear each sampled step, and the others."""
        self._all = _handlers_of(self.collectors)
        self._each_step = _handlers_of([collector for collector in self.collectors if collector.each_step])
        self._others = _handlers_of([collector for collector in self.collectors if not collector.each_step])
        self._choose_handlers()

    def _choose_handlers(self) -> None:
        self._handlers = self._all if not self._sampled or self.shared.is_full else self._each_step

    def _find_losses(self) -> LossCollector | None:
        return next((c for c in self.collectors if isinstance(c, LossCollector)), None)

    def _tell(self, event: str, *args: Any, **kwargs: Any) -> None:
        for collector, handler in self._handlers[event]:
            try:
                handler(*args, **kwargs)
            except Exception as error:
                self._switch_off(collector, error)
                break  # the lists have changed; the others hear the next event

    def _tell_one(self, kind: type[Collector], event: str, *args: Any, **kwargs: Any) -> None:
        """Tells one collector, if it has not failed before, what the others need not know."""
        for collector in self.collectors:
            if isinstance(collector, kind):
                try:
                    getattr(collector, event)(*args, **kwargs)
                except Exception as error:
                    self._switch_off(collector, error)

    def _switch_off(self, collector: Collector, error: Exception) -> None:
        self.collectors = [other for other in self.collectors if other is not collector]
        self._find_handlers()
        self._losses = self._find_losses()
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

    def _begin_interval(self, stepped: Optimizer | None) -> None:
        follows, self._sampled = self._sampled, self._total + 1 >= self._wake_at
        self._backwards = 0
        self._compiled_inside = ()
        if self._sampled:
            shared = self.shared
            shared.turn += 1
            shared.in_a_row = shared.in_a_row + 1 if follows else 1
            shared.heard_before = follows and shared.is_full
            drawing = self._histogram is not None and shared.turn >= self._next_histogram
            shared.histogram = self._histogram if drawing else None
            if drawing:
                self._next_histogram = shared.turn + 1 + shared.turn // 4
            is_jump = self._total < self._jumped_until
            shared.is_full = shared.in_a_row <= FULL_IN_A_ROW or shared.is_thorough or drawing or is_jump
            self._choose_handlers()
            self._tell("interval_begins", stepped, follows)
            _board.watch_dynamo()
            if shared.is_full:
                self.tap.install()
        else:
            self._choose_handlers()
        self._wake_or_sleep()

    def _hear_all(self) -> None:
        """From here on, the sample is a full one: something begins in it that must not be missed."""
        if self._sampled and not self.shared.is_full:
            self.shared.is_full = True
            self._handlers = self._others
            self._tell("interval_begins", None, True)
            self._choose_handlers()

    def _wake_or_sleep(self) -> None:
        awake = self._sampled or self._evaluating is not None or self._reading is not None
        if awake != self.awake:
            self.awake = awake
            _board.wake_or_sleep()

    def _stop_forwards(self) -> None:
        self._end_reading()
        self._end_evaluation()
        if self.tap.installed:
            self._tell("forwards_end", self.tap.last_parametric_order)
            self.tap.remove()

    # -- every step ---------------------------------------------------------------------------------------

    def loss_seen(self, roots: Sequence[Any]) -> None:
        """A backward begins. While asleep this and `step_ends` are all that runs: kept flat and short."""
        if threading.get_ident() != self._thread:
            return
        begun_s = time.perf_counter()
        try:
            if self.awake or not roots or not self._take_as_before(roots[0]):
                loss = self._take_loss(roots[0]) if roots else None
                if self.awake:
                    self._backward_begins(loss)
        except Exception as error:
            self.failed(error)
        if self._tracks and roots:
            self._track(roots[0])
        self._own_time.total_s += time.perf_counter() - begun_s

    def _take_as_before(self, tensor: Any) -> bool:
        """The loss of most steps: a number on the CPU within its spread, from a line that is known.

        False, and nothing is done, for any other. `_take_loss` would do the same at twice the price.
        """
        place = self._places.get(_caller())
        if (
            place is None
            or self._scaled is not None
            or type(tensor) is not Tensor
            or torch._C._len_torch_function_stack()
            or torch._C._len_torch_dispatch_stack()
            or torch._C._get_tracing_state() is not None
            or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
            or not tensor.is_cpu
            or tensor.numel() != 1
        ):
            return False
        value = tensor.item()
        if not place.expects(value):
            return False
        place.level(value)
        if self._losses is not None:
            self._losses.seen(place, value)
        return True

    def _track(self, loss: object) -> None:
        """Flat, as it runs on every step."""
        if self.examples is not None and type(loss) is Tensor and undisturbed() and readable(loss):
            try:
                with torch._C.DisableTorchFunction():
                    self.examples.loss_seen(loss)
            except Exception as error:
                self._end_tracking(error)

    def _end_tracking(self, error: Exception) -> None:
        """What has failed ends the tracking, and nothing else; what was known by then is kept."""
        self._tracks = False
        self.failed(error, "examples")

    def log_evaluation(self, stream: str, value: float) -> None:
        """The program says how an evaluation has come out; less is better."""
        if self._tracks and self.examples is not None:
            with self._ours():
                try:
                    self.examples.evaluated(stream, value)
                except Exception as error:
                    self._end_tracking(error)

    def _take_in_evaluations(self) -> None:
        if not self._tracks:
            return
        for clock, table in self.history.tables("eval_loss"):
            step = int(table.steps[-1]) if len(table.steps) else -1
            if step <= self._evaluations_known.get(clock, 0):
                continue
            self._evaluations_known[clock] = step
            for scope, value in zip(table.scopes, table.values[-1].tolist(), strict=True):
                facts = self.history.evaluations.get(scope)
                if value == value and facts is not None and facts.half_of is None:
                    self.log_evaluation(scope, value)

    def _take_loss(self, tensor: object) -> Loss | None:
        """Notes the value: at once on the CPU; elsewhere a copy, to be read later with many others."""
        scaled, self._scaled = self._scaled, None
        if type(tensor) is not Tensor or not undisturbed() or not readable(tensor):
            return None
        key = _caller()
        place = self._places.get(key)
        if place is None:
            grad_fn = tensor.grad_fn.name() if tensor.grad_fn is not None else ""
            place = self._places[key] = LossPlace(call_site(), grad_fn)
        if tensor.numel() != 1:
            return Loss(tensor, place.site, None)
        number = tensor if scaled is None or scaled[0]() is not tensor else scaled[1]
        with torch._C.DisableTorchFunction():
            if not number.is_cpu:
                if self._losses is not None:
                    self._losses.seen(place, number.detach().reshape(()).to(torch.float32, copy=True))
                return Loss(tensor, place.site, None)
            value: float = number.item()
        if self._losses is not None:
            self._losses.seen(place, value)
        loss = Loss(tensor, place.site, value)
        is_usual = place.expects(value)
        place.level(value)
        if not is_usual:
            self._look_into(loss, value)
        return loss

    def _look_into(self, loss: Loss, value: float) -> None:
        """After a jump the next steps are sampled, in full; where a loss is not finite, its origin is looked for."""
        if self._sampled:
            self._jumped_until = self._total + 1 + ALARM_STEPS
            return
        if value - value != 0.0:
            with self._ours():
                self._tell_one(NonFiniteCollector, "backward_begins", loss)
        if self.schedule.alarm(self._total):
            self._wake_at = min(self._wake_at, self.schedule.next_after(self._total))

    def step_ends(self, optimizer: Optimizer) -> None:
        if not self._sampled:
            name = self._names.get(id(optimizer))
            if name is not None:
                begun_s = time.perf_counter()
                number = self.shared.step_of[name] = self.shared.step_of[name] + 1
                self._total += 1
                self._taking_turns.add(name)
                if self._losses is not None:
                    self._losses.stepped(name, number)
                if self._total + 1 >= self._wake_at or begun_s > self._next_call_s:
                    with self._ours():
                        self._wake(optimizer, begun_s)
                self._own_time.total_s += time.perf_counter() - begun_s
                return
            if optimizer in self._inner or not self.inventory.discovers_optimizers:
                return
            with self._ours():
                self._take_in(optimizer)
            return
        with self._ours():
            while self._stepping:
                running, step = self._stepping.pop()
                if running is optimizer:
                    if step is not None:
                        self._end_step(step)
                    return
            self._begin_interval(None)

    def _take_in(self, optimizer: Optimizer) -> None:
        """A new optimizer has made its first step between samples: it counts, and its next interval is looked at."""
        if is_inside_of_a_step(optimizer):
            self._inner.add(optimizer)
            return
        name = self.inventory.optimizer_name(optimizer)
        if name is None:
            return
        self._total += 1
        self.shared.step_of[name] = 1
        if self._losses is not None:
            self._losses.stepped(name, 1)
        self._note_phase(optimizer, name)
        self._wake_at = self._total + 1
        self._begin_interval(optimizer)

    def _note_phase(self, optimizer: Optimizer, name: str) -> None:
        """If the optimizer is new, so is the phase of training: its first steps are looked at as closely as a run's."""
        if self._names.get(id(optimizer)) == name:
            return
        self._keep_name(optimizer, name)
        if self.schedule.restart(self._total):
            self.shared.thorough_until = self.shared.turn + THOROUGH_TURNS

    def _keep_name(self, optimizer: Optimizer, name: str) -> None:
        """Until the optimizer is gone: another one may get its address."""
        names, key = self._names, id(optimizer)
        names[key] = name
        self._named[key] = weakref.ref(optimizer, lambda gone: names.pop(key, None))

    def _wake(self, optimizer: Optimizer, now_s: float) -> None:
        """Between two sampled steps: the clock has asked for something, or the next interval is to be sampled."""
        if self._after_step is not None and now_s > self._next_call_s:
            self.take_stock()
            self._next_call_s = self._after_step(self._total)
        self._last_step_s = now_s
        self._begin_interval(optimizer)

    # -- what the board says while awake ------------------------------------------------------------------

    def backward_called(self) -> None:
        # The mode must be off the stack while torch runs `backward`. In the first intervals the hooks come
        # back afterwards, for models that run a second time before the step.
        if self.awake and not self._foreign():
            with self._ours():
                self._stop_forwards()

    def _backward_begins(self, loss: Loss | None) -> None:
        with self._ours():
            self._stop_forwards()
            if self._sampled:
                self._backwards += 1
                self._tell("backward_begins", loss)

    def backward_ends(self) -> None:
        if self._sampled and self._backwards and not self._foreign():
            with self._ours():
                self._tell("backward_ends")
                if self._total < DENSE_STEPS and self._backwards < _BACKWARDS_WITHOUT_STEP:
                    self.tap.install(mode=False)

    def step_begins(self, optimizer: Optimizer, *, closure: bool) -> None:
        self._thread = threading.get_ident()
        if not self._sampled:
            return
        with self._ours():
            for index, (running, _) in enumerate(self._stepping):
                if running is optimizer:  # its last step raised before it ended
                    del self._stepping[index:]
                    break
            if self._stepping:  # inside the step of another one (SAM, Lookahead)
                self._inner.add(optimizer)
            name = None if self._stepping else self.inventory.optimizer_name(optimizer)
            if name is None:
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
            )
            self._stepping.append((optimizer, step))
            self._tell("step_begins", step)

    def _end_step(self, step: Step) -> None:
        self._stop_forwards()
        self.shared.step_of[step.name] = step.number
        self._total = step.total
        self._note_phase(step.optimizer, step.name)
        self._tell("step_ends", step)
        facts = self.history.optimizers.get(step.name)
        if facts is not None:
            facts.began, facts.ended = facts.began or step.total, step.total
        if self._losses is not None:
            self._losses.stepped(step.name, step.number)
        now_s, own_s = time.perf_counter(), self._own_time.so_far_s()
        run = self.history.run
        run.models = [name for name, _ in self.inventory.models()]
        run.sampled += 1
        self.history.record("step_s", step.total, {"run": now_s - self._last_step_s})
        self.history.record("own_s", step.total, {"run": own_s - self._own_reported_s})
        if self._total <= DENSE_STEPS:
            self._startup_s = own_s - self.shared.probed_s
        run.startup_s = self._startup_s + self.shared.probed_s
        self.take_stock()
        if self._after_step is not None and now_s > self._next_call_s:
            self._next_call_s = self._after_step(step.total)
        own_s = self._own_time.so_far_s()
        self._taking_turns.add(step.name)
        if isinstance(self.schedule, BudgetSteps):
            self.schedule.companions = len(self._taking_turns)
        self.schedule.spent(own_s=own_s - self.shared.probed_s, wall_s=run.wall_s, step=step.total)
        self._wake_at = self.schedule.next_after(step.total)
        if self._wake_at > step.total + 1:
            self._taking_turns.clear()
        self._last_step_s, self._own_reported_s = now_s, own_s
        self._begin_interval(step.optimizer)

    def step_skipped(self, optimizer: Optimizer, *, scale: float) -> None:
        with self._ours():
            self._tell("step_skipped", optimizer, scale)

    def mode_lifted(self) -> Callable[[], None] | None:
        return None if self._foreign() else self.tap.lift()

    def gradients_cleared(self, owner: Optimizer | nn.Module) -> None:
        if not self._sampled:
            return
        with self._ours():
            self._tell("gradients_cleared", owner)

    def gradients_clipped(self, parameters: list[Tensor], *, limit: float, norm: Tensor) -> None:
        with self._ours():
            value = norm.detach().item() if norm.device.type == "cpu" and undisturbed() else None
            if self._sampled:
                self._tell("gradients_clipped", parameters, limit, value)
            elif value is not None and value - value != 0.0:
                self._wake_at = self._total + 1  # to be looked at if a step uses it: GradScaler may skip it
                self._begin_interval(None)

    def gradients_clamped(self, gradients: list[Tensor], *, limit: float) -> None:
        if self._sampled:
            with self._ours():
                self._tell("gradients_clamped", gradients, limit)

    def gradients_unscaled(self, optimizer: Optimizer, *, scale: float) -> None:
        if self._sampled:
            with self._ours():
                self._tell("gradients_unscaled", optimizer, scale)

    def scheduler_made(self, scheduler: Any) -> None:
        with self._ours():
            self._tell("scheduler_made", scheduler)

    def sampler_made(self, sampler: Any) -> None:
        if not self._foreign():
            with self._ours():
                self._tell("sampler_made", sampler)

    def sampler_used(self, sampler: Any) -> None:
        if not self._foreign():
            with self._ours():
                self._tell("sampler_used", sampler)

    def loss_scaled(self, loss: Tensor, scaled: Tensor) -> None:
        # The scaled loss may overflow while the scale is being searched for; what counts is what was scaled.
        self._scaled = (weakref.ref(scaled), loss.detach())

    def mode_set(self, module: nn.Module, *, training: bool) -> None:
        if self._foreign():
            return
        if training:
            if torch.is_grad_enabled():  # without gradients it does not train yet
                with self._ours():
                    self._end_evaluation()
        else:
            self._may_evaluate(MODEL_EVAL)

    def gradients_off(self, place: Place) -> None:
        if self._evaluating is None and not self._own_time.running and not self._foreign():
            self._may_evaluate(place)

    def _may_evaluate(self, place: Place) -> None:
        """What begins here may be an evaluation: models and losses are listened for, if it is worth it."""
        if self._evaluating is not None:
            with self._ours():
                self._tell("evaluation_begins")
            return
        if not self._phases.worth_a_look(place, self._total):
            return
        with self._ours():
            self._hear_all()
            self._evaluating, self._evaluated = place, False
            self._tell("evaluation_begins")
            self.tap.install()
            self._wake_or_sleep()

    def state_taken(self, module: nn.Module, state: Any) -> None:
        if not self._foreign():
            with self._ours():
                self.history.note("state-saved", self._total, "run", steps=dict(self.shared.step_of))
                self._tell("state_taken", module, state)

    def state_loads(self, module: nn.Module, state: Any) -> None:
        if not self._foreign():
            with self._ours():
                self._tell("state_loads", module, state)

    def state_loaded(self, module: nn.Module, state: Any, missing: list[str], unexpected: list[str]) -> None:
        if not self._foreign():
            with self._ours():
                self.history.note("state-loaded", self._total, "run", steps=dict(self.shared.step_of))
                self._tell("state_loaded", module, state, missing, unexpected)

    def loader_begins(self, place: Place) -> None:
        """A pass over data begins: in an evaluation, a set; with gradients, what runs may never reach a backward."""
        if self._evaluating is not None and not self._foreign():
            with self._ours():
                self._tell("loader_begins")
        if self.awake or self._own_time.running or self._foreign() or not torch.is_grad_enabled() or not self._total:
            return
        if not self._loaders.worth_a_look(place, self._total):
            return
        with self._ours():
            self._reading, self._runs_read = place, 0
            self._tell_one(UnusedCollector, "occasion_begins")
            self.tap.install()
            self._wake_or_sleep()

    def batches_reset(self, iterator: Any) -> None:
        if self._tracks and self.examples is not None and not self._foreign():
            self.examples.batches.reset(iterator)

    def indices_drawn(self, iterator: Any, indices: Any) -> None:
        if self._tracks and self.examples is not None and not self._foreign():
            self.examples.batches.drawn(iterator, indices)

    def batch_yielded(self, iterator: Any, data: Any) -> None:
        if self._tracks and self.examples is not None and not self._foreign():
            begun_s = time.perf_counter()
            try:
                self.examples.batches.yielded(iterator, data)
            except Exception as error:
                self._end_tracking(error)
            self._own_time.total_s += time.perf_counter() - begun_s

    def _end_reading(self) -> None:
        if self._reading is None:
            return
        self._loaders.looked(self._reading, self._total, fruitful=self._runs_read > 1)
        self._reading = None
        if not self._looking:
            self.tap.remove()
        self._wake_or_sleep()

    def _end_evaluation(self) -> None:
        if self._evaluating is None:
            return
        self._phases.looked(self._evaluating, self._total, fruitful=self._evaluated)
        self._evaluating = None
        if not self._sampled:
            self.tap.remove()
        self._wake_or_sleep()
        if self._evaluated:
            self._tell("evaluation_ends")
            self._take_in_evaluations()

    def compiled_code_runs(self) -> None:
        if self.tap.installed:
            self._compiled_inside = self.tap.running
            with self._ours():
                if self._sampled:
                    self._tell("forwards_end", self.tap.last_parametric_order)
                self.tap.remove()

    def compiled_module_returned(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._foreign():
            return
        # The loss function is still to come.
        if self._evaluating is not None:
            self.tap.install()
            if not torch.is_grad_enabled():
                self.model_ran(ModelRun(unwrapped(module), args, kwargs, output, training=False))
        elif (
            self._sampled
            and self.shared.is_full
            and not self._backwards
            # Within another module, what followed would pass for models of their own.
            and self._compiled_inside in ((), (id(module),))
        ):
            self.tap.install()

    def compiled_module_called(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.compiled_code_runs()
        if (
            not self._sampled
            or not self.shared.is_full
            or self._foreign()
            or not torch.is_grad_enabled()
            or self._backwards
        ):
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

    def compiled_function_called(self, name: str) -> None:
        if not self._sampled or self._foreign() or not torch.is_grad_enabled() or self._backwards:
            return
        with self._ours():
            if not self.history.count("not-seen", name):
                reason = "a compiled function: what runs in it is not seen"
                self.history.note("not-seen", self._total + 1, name, reason=reason)

    def forked(self) -> None:
        """In the child: nothing is watched there, and the parent's files are not touched."""
        self.closed = True
        self.tap.remove()

    # -- what the forward pass says -----------------------------------------------------------------------

    def root_called(self, module: nn.Module) -> None:
        with self._ours():
            if self._sampled:
                self.inventory.saw_forward(module)
            self._tell("root_called", module)

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

    def layer_called(self, call: LayerCall) -> None:
        if self._sampled:
            with self._ours():
                self._tell("layer_called", call)

    def evaluation_loss(self, value: Tensor, *, summed: bool, examples: int) -> None:
        self._evaluated = True
        with self._ours():
            self._tell("evaluation_loss", value, summed=summed, examples=examples)

    def model_ran(self, run: ModelRun) -> None:
        self._evaluated |= not run.training
        self._runs_read += 1
        self._tell_if_looking("model_ran", run)

    def loss_called(self, call: LossCall) -> None:
        self._tell_if_looking("loss_called", call)

    def operands_enlarged(
        self, first: Tensor, second: Tensor, result: Tensor, file: str | None, line: int | None
    ) -> None:
        if self._sampled:
            with self._ours():
                self._tell("operands_enlarged", first, second, result, file, line)

    def difference_taken(self, call: LossCall) -> None:
        if self._sampled:
            with self._ours():
                self._tell("difference_taken", call)

    def compared(self, first: Tensor, second: Tensor) -> None:
        if self._evaluating is not None:
            with self._ours():
                self._tell("compared", first, second)

    def tensor_scaled(self, tensor: Tensor) -> None:
        if self._looking:
            with self._ours():
                self._tell("tensor_scaled", tensor)

    def two_mode_ran(self, module: nn.Module, *, training: bool) -> None:
        self._tell_if_looking("two_mode_ran", module, training=training)

    def dropout_called(self, p: float, *, active: bool, training: bool, file: str | None, line: int | None) -> None:
        self._tell_if_looking("dropout_called", p, active=active, training=training, file=file, line=line)

    def _tell_if_looking(self, event: str, *args: Any, **kwargs: Any) -> None:
        """All hear it in samples and evaluations; where a DataLoader was begun, who follows what is never used."""
        if self._looking:
            with self._ours():
                self._tell(event, *args, **kwargs)
        elif self._reading is not None:
            with self._ours():
                self._tell_one(UnusedCollector, event, *args, **kwargs)

    @property
    def _looking(self) -> bool:
        """Whether this is a sampled interval or an evaluation; the tap may stay a little longer than either."""
        return self._sampled or self._evaluating is not None

    def module_name(self, module: nn.Module) -> str:
        name = self.inventory.module_name(module)
        return type(module).__name__ if name is None else name


def _handlers_of(collectors: Sequence[Collector]) -> dict[str, list[tuple[Collector, Callable[..., None]]]]:
    """For each event, the collectors that listen, and how."""
    events = [name for name, value in vars(Collector).items() if callable(value) and name[0] != "_"]
    return {
        event: [
            (collector, getattr(collector, event))
            for collector in collectors
            if getattr(type(collector), event) is not getattr(Collector, event)
        ]
        for event in events
    }


def _caller() -> Place:
    """Identifies the line that called backward, without a search: what stands a fixed number of frames up.

    That is the user's line for `loss.backward()`, and some other line that stays the same for other ways in.
    """
    try:
        frame = sys._getframe(7)
    except ValueError:
        frame = sys._getframe(2)
    return code_id(frame.f_code), frame.f_lineno
