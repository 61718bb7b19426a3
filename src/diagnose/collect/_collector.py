"""The base of all collectors: what they may be told, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.collect.callsite import CallSite
from diagnose.collect.forward import ActivationCall, CallKey, LayerCall, LossCall, ModelRun
from diagnose.collect.inventory import Inventory
from diagnose.history import History

THOROUGH_TURNS: Final = 12
THOROUGH_EVERY: Final = 4
FULL_IN_A_ROW: Final = 64
THOROUGH_IN_A_ROW: Final = 6
_GOLDEN: Final = (5**0.5 - 1) / 2
PROBE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Step:
    """One step of one optimizer.

    Attributes:
        optimizer, name: the optimizer and its name, which is also the clock of what is recorded.
        number: how many steps it has made when this one ends, from 1.
        total: the same over all optimizers of the watch.
        closure: whether it was given a closure, inside of which the forward and backward then happen.
    """

    optimizer: Optimizer
    name: str
    number: int
    total: int
    closure: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """What `backward` is called on.

    Attributes:
        tensor: the tensor itself.
        site: the user's line that calls backward, None if unknown.
        value: its value if it is one number on the CPU, before GradScaler scaled it; else None.
    """

    tensor: Tensor
    site: CallSite | None
    value: float | None


@dataclass
class Shared:
    """What the collectors of one watch share.

    Attributes:
        step_of: for each optimizer name, how many steps it has made.
        thorough_until: the last of the thorough samples in a row, at the start and in a new phase of training.
        in_a_row: how many intervals up to the current one were sampled without a gap.
        heard_before: whether the interval before was sampled in full.
        is_full: whether the current sample is: its forward passes are seen and all collectors hear it.
        turn: number of the current sample; rotates windows and bounded samples.
        gradients_are_finite: whether all gradients of the current step were, as far as read.
        layer_scopes: names of the activations seen so far.
        probe_seconds: how long all probes of the watch may take; 0 for none.
        probed_s: how long they have taken: a cost of its own, which is not charged to the samples.
        histogram: takes (tag, step, values on the host), or None where nobody draws histograms now.
    """

    history: History
    inventory: Inventory
    step_of: dict[str, int]
    turn: int = 0
    in_a_row: int = 0
    heard_before: bool = False
    is_full: bool = False
    thorough_until: int = THOROUGH_TURNS
    gradients_are_finite: bool = True
    layer_scopes: dict[CallKey, str] = field(default_factory=dict)
    probe_seconds: float = PROBE_SECONDS
    probed_s: float = 0.0
    histogram: Callable[[str, int, Tensor], None] | None = None

    @property
    def probe_seconds_left(self) -> float:
        """How long probes may still take."""
        return self.probe_seconds - self.probed_s

    @property
    def is_thorough(self) -> bool:
        """Whether this sample takes in what changes slowly, too: the first ones do, then about every fourth (every
        sixth, where very many in a row are sampled).

        The multiples of the golden ratio keep no step with a cycle of the user's (Weyl 1916): of two optimizers that
        take turns, each gets its share.
        """
        every = THOROUGH_EVERY if self.in_a_row <= FULL_IN_A_ROW else THOROUGH_IN_A_ROW
        return self.turn <= self.thorough_until or self.turn * _GOLDEN % 1.0 < 1 / every


class Collector:
    """Reads one kind of signal. A method that raises has its collector reported and switched off."""

    name: ClassVar[str]
    each_step: ClassVar[bool] = False
    """Reads what may differ from step to step, without the forward pass. All others read what changes slowly, or what
    forward passes show: where more than FULL_IN_A_ROW intervals in a row are sampled, they hear the thorough ones."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.history = shared.history
        self.inventory = shared.inventory

    # In sampled intervals.
    def interval_begins(self, stepped: Optimizer | None, follows: bool) -> None:
        """A sampled interval begins: the time up to the next optimizer step.

        Args:
            stepped: the optimizer whose step has just ended.
            follows: whether the interval that ended with that step was sampled too.
        """

    def backward_begins(self, loss: Loss | None) -> None:
        """`backward` is about to accumulate gradients; `loss` is None if it cannot be read here and now."""

    def backward_ends(self) -> None:
        """It is done, or has raised."""

    def step_begins(self, step: Step) -> None:
        """Right before the optimizer changes the parameters."""

    def step_ends(self, step: Step) -> None:
        """Right after, before the user's code goes on."""

    def step_skipped(self, optimizer: Optimizer, scale: float) -> None:
        """GradScaler found an overflow."""

    def gradients_cleared(self, owner: Optimizer | nn.Module) -> None:
        """`owner.zero_grad()` has been called."""

    def gradients_clipped(self, parameters: Sequence[Tensor], limit: float, norm: float | None) -> None:
        """Gradients of `parameters`, of total norm `norm` (None: not on the CPU), are about to be clipped."""

    def gradients_clamped(self, gradients: Sequence[Tensor], limit: float) -> None:
        """`gradients` are about to be clipped by value."""

    def gradients_unscaled(self, optimizer: Optimizer, scale: float) -> None:
        """GradScaler is about to divide the optimizer's gradients by `scale`."""

    # In evaluation phases, of which few enough are looked at. What runs without gradients inside of a sampled
    # interval, as a teacher does, looks like a phase too, and is over when the next backward begins.
    def evaluation_begins(self) -> None:
        """`model.eval()`, or a block without gradients; `model.eval()` again while a phase goes on."""

    def evaluation_ends(self) -> None:
        """Training goes on after a phase in which a model ran or a loss was seen."""

    def loader_begins(self) -> None:
        """A pass over a DataLoader begins, within a phase."""

    def evaluation_loss(self, value: Tensor, *, summed: bool, examples: int) -> None:
        """A loss function was called without gradients."""

    # In sampled intervals and in evaluation phases.
    def model_ran(self, run: ModelRun) -> None:
        """A module that was called from outside of any module has returned."""

    def loss_called(self, call: LossCall) -> None:
        """A loss function of torch has returned."""

    def operands_enlarged(
        self, first: Tensor, second: Tensor, result: Tensor, file: str | None, line: int | None
    ) -> None:
        """A difference or product of two tensors with equally many rows has more numbers than either of them."""

    def difference_taken(self, call: LossCall) -> None:
        """Outside of modules, outputs and data of the same shape were subtracted; `result` is the difference."""

    def compared(self, first: Tensor, second: Tensor) -> None:
        """Two tensors of one value per example were compared by `==`, in an evaluation phase."""

    def tensor_scaled(self, tensor: Tensor) -> None:
        """Outside of modules, without gradient, `tensor` times a number was computed, or something between it and
        another of its shape; `tensor` itself was not changed by that.
        """

    def two_mode_ran(self, module: nn.Module, *, training: bool) -> None:
        """A dropout or a normalisation with running statistics ran; `training`: with gradients enabled."""

    def dropout_called(self, p: float, *, active: bool, training: bool, file: str | None, line: int | None) -> None:
        """A dropout function was called by name. `active`: the mode it was asked for; `training` as above."""

    # Whenever the user saves or restores.
    def state_taken(self, module: nn.Module, state: Any) -> None:
        """`module.state_dict()` has returned `state`."""

    def state_loads(self, module: nn.Module, state: Any) -> None:
        """`module.load_state_dict(state)` is about to run."""

    def state_loaded(self, module: nn.Module, state: Any, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        """It has run; the names are those that it has returned."""

    # In sampled intervals and evaluation phases, with gradients enabled or not.
    def root_called(self, module: nn.Module) -> None:
        """A module is called from outside of any module."""

    # With gradients enabled.
    def root_returned(self, module: nn.Module, last_parametric_order: int) -> None:
        """A module that was called from outside of any module has returned."""

    def module_ran(self, module: nn.Module, output: Any, order: int) -> None:
        """A module with parameters of its own has returned `output`."""

    def activation_begins(self, call: ActivationCall) -> None:
        """An activation function is about to be applied."""

    def activation_ends(self, call: ActivationCall, output: Tensor) -> None:
        """It has been."""

    def gate_used(self, key: CallKey) -> None:
        """The output of an activation is a factor of a product."""

    def layer_called(self, call: LayerCall) -> None:
        """A trained layer is about to be applied to data, or is the next to run after such a one."""

    def forwards_end(self, last_parametric_order: int) -> None:
        """No more of this interval's forward passes will be seen."""

    # At any time.
    def scheduler_made(self, scheduler: Any) -> None:
        """A learning rate scheduler of torch's has been made."""

    def sampler_made(self, sampler: Any) -> None:
        """A WeightedRandomSampler of torch's has been made."""

    def sampler_used(self, sampler: Any) -> None:
        """Examples are about to be drawn from it."""

    def finish(self) -> None:
        """The watch ends."""
