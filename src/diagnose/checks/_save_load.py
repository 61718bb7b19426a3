"""save_load: does a model that is saved and loaded compute the same, and go on training the same?"""

from __future__ import annotations

import copy
import io
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diagnose.checks._rehearsal import Inputs, LossFn, Rehearsal
from diagnose.checks._result import CheckResult
from diagnose.checks._tensors import changes, largest_change, named_tensors, rounding_of, same_bits, spread
from diagnose.errors import CheckError
from diagnose.findings import Evidence, Finding, Location, Severity

NAME: Final = "save-load"
_ANOTHER_PROCESS: Final = 0x5AFE
CODE: Final = "save-load-mismatch"
_LATER: Final = 97
"""Number of the step after loading: it seeds other random numbers than the steps before."""
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


def save_load(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss_fn: LossFn | None = None,
    optimizer: MakeOptimizer | None = None,
    make_model: Callable[[], nn.Module] | None = None,
    steps: int = 2,
    seed: int = 0,
) -> CheckResult:
    """Whether a saved and reloaded model gives the same outputs, bit for bit, and takes the same next training step.

    A copy is trained for a few steps. Its `state_dict` goes through `torch.save` and
    `torch.load(weights_only=True)` into a model that was not trained, with `strict=True`; then states, outputs in
    evaluation mode, and the parameters after one more step are compared. Where outputs differ, the buffer or plain
    attribute that makes the difference is looked for and named.

    Args:
        model, inputs, targets, loss_fn: as for a training step. Without a loss, the model is run in training mode
            instead of trained, and optimizers are left out.
        optimizer: makes one from parameters; by default AdamW.
        make_model: makes a new model, as the program that loads would. By default a copy from before the training
            takes its place: what a constructor would do differently each time is then known for parameters only.
        steps: of training before the state is saved.
        seed: of all random numbers; each training step draws the same ones in both models.

    Returns:
        Not applicable: the outputs of one model in evaluation mode differ from one run to the next.

    Raises:
        CheckError: the model, the loss or `make_model` raises, or the model cannot be copied.

    Source:
        PyTorch documentation, "Saving and Loading Models". Equal means equal in all bits: the same kernels get the same
        numbers. A difference that is rounding only (another memory format, say) is an `info`.
    """
    with Rehearsal(model, inputs, targets, loss_fn, seed=seed) as rehearsal:
        trip = _Trip(rehearsal, optimizer, make_model, seed)
        trip.train(steps)
        outputs = trip.outputs(trip.trained)
        if not _same_outputs(outputs, trip.outputs(trip.trained)):
            return CheckResult.not_applicable(NAME, "its outputs in evaluation mode differ from one run to the next")
        findings = list(trip.load())
        if not findings:
            findings += trip.compare(outputs)
        if not findings:
            findings += trip.next_step()
        findings += _never_saved(rehearsal.model, findings)
    rank = [severity.value for severity in Severity]
    findings.sort(key=lambda finding: rank.index(finding.severity.value))
    failed = next((f for f in findings if f.severity.at_least(Severity.WARNING)), None)
    told = "" if trip.with_loss else " (no loss: the optimizer was not looked at)"
    summary = (
        failed.message
        if failed is not None
        else f"{len(trip.state)} entries bring back the same outputs"
        + (" and the same next step" if trip.with_loss else "")
        + told
    )
    evidence: dict[str, Evidence] = {"entries": len(trip.state), "steps": steps, "optimizer": trip.optimizer_name}
    return CheckResult(NAME, summary, tuple(findings), evidence)


class _Trip:
    """A model that was trained, and another one that its state goes to."""

    def __init__(
        self,
        rehearsal: Rehearsal,
        optimizer: MakeOptimizer | None,
        make_model: Callable[[], nn.Module] | None,
        seed: int,
    ) -> None:
        self.rehearsal, self.seed = rehearsal, seed
        self.trained = rehearsal.model
        self.make_optimizer = optimizer or (lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))
        self.made = make_model is not None
        self.fresh = copy.deepcopy(self.trained) if make_model is None else _made_by(make_model, seed)
        self.state: dict[str, Any] = {}
        self.with_loss = False
        self.optimizer_name: str | None = None
        self._optimizer: Optimizer | None = None
        self._twin, self._steps = copy.deepcopy(self.trained), 0
        _scramble(self.fresh)

    def train(self, steps: int) -> None:
        """Some steps, or runs in training mode where there is no loss."""
        self._steps = steps
        self.trained.train()
        try:
            loss = self._loss(self.trained)
        except CheckError:
            if self.rehearsal.has_loss:
                raise
            with torch.no_grad():
                for _ in range(steps):
                    self.rehearsal.output(model=self.trained)
            return
        parameters = [p for p in self.trained.parameters() if p.requires_grad]
        if not parameters or not loss.requires_grad:
            return
        self.with_loss = True
        self._optimizer = self.make_optimizer(parameters)
        self.optimizer_name = type(self._optimizer).__name__
        for step in range(steps):
            self.step(self.trained, self._optimizer, step)

    def _loss(self, model: nn.Module) -> Tensor:
        self._seed(0)
        return self.rehearsal.loss(model=model)

    def step(self, model: nn.Module, optimizer: Optimizer, number: int) -> None:
        """One training step, whose random numbers depend on its number alone."""

        def closure() -> float:
            optimizer.zero_grad()
            self._seed(number + 1)
            loss = self.rehearsal.loss(model=model)
            loss.backward()
            return float(loss.detach())

        if isinstance(optimizer, torch.optim.LBFGS):
            optimizer.step(closure)
            return
        closure()
        optimizer.step()

    def _seed(self, number: int) -> None:
        torch.manual_seed(self.seed + number)
        random.seed(self.seed + number)
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed((self.seed + number) % 2**32)

    def outputs(self, model: nn.Module) -> list[tuple[str, Tensor]]:
        """What it returns in evaluation mode; it stays in that mode."""
        model.eval()
        self._seed(0)
        with torch.no_grad():
            return [(n, t.detach().clone()) for n, t in named_tensors(self.rehearsal.output(model=model))]

    # ------------------------------------------------------------------ loading

    def load(self) -> Iterator[Finding]:
        """Takes the state through a file into the fresh model; yields what does not go through."""
        state = self.trained.state_dict()
        content, unsafe = _through_a_file(state)
        if unsafe:
            yield _finding(
                Severity.WARNING,
                f"torch.load(weights_only=True), the default, refuses the state: {unsafe}",
                cause="The state holds other objects than tensors and plain containers (get_extra_state, a buffer of a "
                "class of one's own).",
                remedy="Keep tensors, numbers, strings and containers of them in the state, or allow the class with "
                "torch.serialization.add_safe_globals.",
            )
        self.state = content
        try:
            self.fresh.load_state_dict(content, strict=True)
        except Exception as error:
            yield _finding(
                Severity.ERROR,
                f"load_state_dict(strict=True) refuses the model's own state: {_first_lines(str(error))}",
                cause="The model builds or renames parts while it is used, or is built otherwise than the one saved."
                if not self.made
                else "make_model builds another architecture than the model that was saved.",
                remedy="Create all parameters and buffers in __init__, and build both models from one configuration.",
            )

    def compare(self, outputs: list[tuple[str, Tensor]]) -> Iterator[Finding]:
        """Yields where the loaded model differs from the one that was saved."""
        loaded = self.fresh.state_dict()
        lost = [
            name
            for name, value in self.state.items()
            if isinstance(value, Tensor) and not (name in loaded and same_bits(value, loaded[name]))
        ]
        if lost:
            yield _finding(
                Severity.ERROR,
                f"{len(lost)} of {len(self.state)} entries of the state are not what was saved after loading: "
                f"{_listed(lost)}",
                Location(parameter=lost[0]),
                {"changed": [*lost[:8]]},
                cause="A hook or an override of load_state_dict or state_dict skips, renames or casts entries, or the "
                "new model has another type (dtype).",
                remedy="Compare model.state_dict() with what was saved, entry by entry.",
            )
            return
        again = self.outputs(self.fresh)
        if _same_outputs(outputs, again):
            return
        if [(n, t.shape) for n, t in outputs] == [(n, t.shape) for n, t in again] and all(
            not bool((changes(a, b) > rounding_of(a.dtype) * spread(a)).any())
            for (_, a), (_, b) in zip(outputs, again, strict=True)
        ):
            yield _finding(
                Severity.INFO,
                "the outputs of the reloaded model differ in rounding",
                cause="Another memory format or another kernel adds up in another order.",
                remedy="Nothing, unless bits have to agree.",
            )
            return
        yield self._culprit(outputs, again)

    def _culprit(self, outputs: list[tuple[str, Tensor]], again: list[tuple[str, Tensor]]) -> Finding:
        """What the state lacks: the holder that makes outputs equal once it is carried over by hand."""
        change = max((largest_change(a, b) for (_, a), (_, b) in zip(outputs, again, strict=False)), default=1.0)
        differing = list(_unsaved(self.trained, self.fresh, self.state))
        guilty = []
        for item in differing:
            before = item.carry_over()
            if _outputs_nearer(outputs, again, now := self.outputs(self.fresh)):
                guilty.append(item)
                again = now
                if _same_outputs(outputs, again):
                    break
            else:
                item.put_back(before)
        evidence: dict[str, Evidence] = {
            "largest_change_in_spreads": change,
            "not_in_state": [item.name for item in (guilty or differing)[:8]],
        }
        if not guilty:
            return _finding(
                Severity.ERROR,
                f"the reloaded model gives other outputs in evaluation mode, by up to {change:.2g} of their spread",
                evidence=evidence,
                cause="Something that the outputs depend on is not in the state: an attribute that training changes, a "
                "part that is no registered module." + (" Or make_model builds another model." if self.made else ""),
                remedy="Register what training changes as a parameter or a buffer.",
            )
        first = guilty[0]
        names = _listed([item.name for item in guilty])
        return _finding(
            Severity.ERROR,
            f"the state lacks {names}, {first.what}: the reloaded model gives other outputs, by up to {change:.2g} of "
            "their spread",
            Location(module=first.module or None, parameter=first.name if first.is_tensor else None),
            evidence,
            cause=first.cause,
            remedy=first.remedy,
        )

    # ------------------------------------------------------------------ the optimizer

    def next_step(self) -> Iterator[Finding]:
        """Yields if one more step after loading is another one than without."""
        if self._optimizer is None:
            return
        state, unsafe = _through_a_file(self._optimizer.state_dict())
        if unsafe:
            yield _finding(
                Severity.WARNING,
                f"torch.load(weights_only=True), the default, refuses the optimizer's state: {unsafe}",
                cause="It holds other objects than tensors, numbers and containers of them.",
                remedy="Keep tensors and plain values in optimizer.state and in param_groups.",
            )
        fresh_parameters = [p for p in self.fresh.parameters() if p.requires_grad]
        optimizer = self.make_optimizer(fresh_parameters)
        try:
            optimizer.load_state_dict(state)
        except Exception as error:
            yield _finding(
                Severity.ERROR,
                f"a new {self.optimizer_name} refuses the state of the one that was saved: {_first_lines(str(error))}",
                cause="Its groups have other parameters: the new model orders, ties or freezes them otherwise.",
                remedy="Build both optimizers from the same parameters in the same order.",
            )
            return
        for model in (self.trained, self.fresh):
            model.train()
        self.step(self.trained, self._optimizer, _LATER)
        self.step(self.fresh, optimizer, _LATER)
        difference = _first_difference(self.trained, self.fresh)
        if difference is None or difference[1] <= difference[2] or not self._can_be_repeated():
            return
        name, change, _ = difference
        untied = len(list(self.fresh.parameters())) != len(list(self.trained.parameters()))
        yield _finding(
            Severity.ERROR,
            f"the next training step of the reloaded model and {self.optimizer_name} is another one: {name} differs by "
            f"{change:.2g} of its spread",
            Location(parameter=name),
            {"parameter": name, "largest_change_in_spreads": change},
            cause="Weights that were tied are not tied in the new model."
            if untied
            else "The optimizer keeps something outside of its state (attributes of its own), or the model does that "
            "only shows in training mode.",
            remedy="Tie the weights in __init__."
            if untied
            else "Keep everything that training changes in optimizer.state[parameter] or param_groups, and in buffers "
            "of the model.",
        )

    def _can_be_repeated(self) -> bool:
        """Whether the same training from the start, in one go, ends at the same parameters."""
        self._twin.train()
        # Not a copy of the optimizer: copies of optimizers, too, lose what is not in their state.
        optimizer = self.make_optimizer([p for p in self._twin.parameters() if p.requires_grad])
        for step in (*range(self._steps), _LATER):
            self.step(self._twin, optimizer, step)
        return _first_difference(self.trained, self._twin) is None


# ---------------------------------------------------------------------- what a state lacks


@dataclass
class _Item:
    """Something that differs between the two models and is not in the state."""

    name: str
    module: str
    what: str
    cause: str
    remedy: str
    is_tensor: bool
    theirs: Any
    holder: Any
    key: str

    def carry_over(self) -> Any:
        before = self.holder[self.key]
        self.holder[self.key] = copy.deepcopy(self.theirs)
        return before

    def put_back(self, value: Any) -> None:
        self.holder[self.key] = value


_MACHINERY: Final = frozenset({"_parameters", "_modules", "_buffers", "training", "_non_persistent_buffers_set"})


def _unsaved(trained: nn.Module, fresh: nn.Module, state: Any) -> Iterator[_Item]:
    """Buffers and attributes that are not in the state and differ between the two models."""
    others = dict(fresh.named_modules())
    for prefix, module in trained.named_modules():
        other = others.get(prefix)
        if other is None:
            continue
        dot = f"{prefix}." if prefix else ""
        for key, value in module._buffers.items():
            if value is None or dot + key in state or key not in other._buffers:
                continue
            theirs = other._buffers[key]
            if theirs is None or not same_bits(value, theirs):
                yield _Item(
                    dot + key,
                    prefix,
                    "a buffer with persistent=False",
                    "Buffers that are registered with persistent=False are left out of the state, and this one is "
                    "changed by training or drawn at random.",
                    f"register_buffer({key!r}, ...) with persistent=True (the default).",
                    True,
                    value,
                    other._buffers,
                    key,
                )
        for key, value in vars(module).items():
            if key in _MACHINERY or key.endswith("_hooks") or key not in vars(other):
                continue
            if not _alike(value, vars(other)[key]):
                yield _attribute(dot + key, prefix, key, value, vars(other))


def _attribute(name: str, module: str, key: str, value: Any, holder: Mapping[str, Any]) -> _Item:
    holds_modules = any(isinstance(item, nn.Module) for item in _leaves(value))
    is_tensor = isinstance(value, Tensor)
    if holds_modules:
        what, remedy = "modules in a plain container", "Use nn.ModuleList or nn.ModuleDict in place of list or dict."
    elif is_tensor and value.requires_grad:
        what, remedy = "a plain tensor that requires gradients", f"self.{key} = nn.Parameter(...)"
    elif is_tensor:
        what, remedy = "a plain tensor attribute", f"self.register_buffer({key!r}, ...)"
    else:
        what = "a plain attribute that training changes"
        remedy = f"Keep it in a buffer, or give {key} out through get_extra_state and set_extra_state."
    cause = "Only parameters, buffers and registered modules are in state_dict()."
    return _Item(name, module, what, cause, remedy, is_tensor, value, holder, key)


def _leaves(value: Any, depth: int = 3) -> Iterator[Any]:
    if isinstance(value, dict) and depth:
        for item in value.values():
            yield from _leaves(item, depth - 1)
    elif isinstance(value, list | tuple) and depth:
        for item in value:
            yield from _leaves(item, depth - 1)
    else:
        yield value


def _alike(a: Any, b: Any) -> bool:
    """Whether two attributes hold the same values, as far as can be told; what cannot be compared counts as alike."""
    ours, theirs = list(_leaves(a)), list(_leaves(b))
    if len(ours) != len(theirs) or type(a) is not type(b):
        return False
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            if not same_bits(one, other):
                return False
        elif isinstance(one, nn.Module) and isinstance(other, nn.Module):
            mine, others = one.state_dict(), other.state_dict()
            if mine.keys() != others.keys() or not all(
                same_bits(v, others[k]) for k, v in mine.items() if isinstance(v, Tensor)
            ):
                return False
        elif type(one) in (int, float, bool, str) and one != other:
            return False
    return True


def _never_saved(model: nn.Module, known: list[Finding]) -> Iterator[Finding]:
    """What can learn and is in no state, whether or not it has made a difference here."""
    if any(finding.severity is Severity.ERROR for finding in known):
        return
    registered = {id(p) for p in model.parameters()}
    for prefix, module in model.named_modules():
        for key, value in vars(module).items():
            if key in _MACHINERY or key.endswith("_hooks"):
                continue
            for leaf in _leaves(value):
                learns = (
                    [leaf]
                    if isinstance(leaf, Tensor) and leaf.is_leaf and leaf.requires_grad
                    else list(leaf.parameters())
                    if isinstance(leaf, nn.Module)
                    else []
                )
                if any(id(tensor) not in registered for tensor in learns):
                    name = f"{prefix}.{key}" if prefix else key
                    item = _attribute(name, prefix, key, value, {})
                    yield _finding(
                        Severity.WARNING,
                        f"{name}, {item.what}, can learn and is not in the state",
                        Location(module=prefix or None, parameter=name),
                        cause=item.cause + " Nor would an optimizer or .to(device) see it.",
                        remedy=item.remedy,
                    )
                    break


def _scramble(model: nn.Module) -> None:
    """Draws anew what a new process would draw anew: all that can learn, registered or not."""
    with torch.no_grad():
        learnt: list[Tensor] = [*model.parameters()]
        for module in model.modules():
            for key, value in vars(module).items():
                if key in _MACHINERY:
                    continue
                for leaf in _leaves(value):
                    if isinstance(leaf, nn.Module):
                        learnt += leaf.parameters()
                    elif isinstance(leaf, Tensor) and leaf.requires_grad and leaf.is_leaf:
                        learnt.append(leaf)
        for tensor in {id(t): t for t in learnt}.values():
            if (tensor.is_floating_point() or tensor.is_complex()) and not isinstance(
                tensor, nn.UninitializedParameter
            ):
                tensor.add_(torch.randn_like(tensor))


# ---------------------------------------------------------------------- comparing


def _made_by(make_model: Callable[[], nn.Module], seed: int) -> nn.Module:
    # Not from `seed` itself: the caller may have begun with it, and would get the same random constants again.
    torch.manual_seed(seed + _ANOTHER_PROCESS)
    try:
        made = make_model()
    except Exception as error:
        raise CheckError(f"make_model raised {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise CheckError(f"make_model returned a {type(made).__name__}, and has to return a module.")
    return copy.deepcopy(made)


def _through_a_file(state: Any) -> tuple[Any, str]:
    """The state after torch.save and torch.load, and why weights_only=True refuses it; "" if it does not."""
    file = io.BytesIO()
    try:
        torch.save(state, file)
    except Exception as error:
        raise CheckError(f"torch.save cannot save the state: {type(error).__name__}: {error}") from error
    file.seek(0)
    try:
        return torch.load(file, weights_only=True), ""
    except Exception as error:
        file.seek(0)
        # Our own bytes of a moment ago: nothing foreign is unpickled.
        return torch.load(file, weights_only=False), _first_lines(str(error), "Unsupported")


def _same_outputs(a: list[tuple[str, Tensor]], b: list[tuple[str, Tensor]]) -> bool:
    return [n for n, _ in a] == [n for n, _ in b] and all(same_bits(x, y) for (_, x), (_, y) in zip(a, b, strict=True))


def _outputs_nearer(
    wanted: list[tuple[str, Tensor]], before: list[tuple[str, Tensor]], now: list[tuple[str, Tensor]]
) -> bool:
    def distance(found: list[tuple[str, Tensor]]) -> float:
        pairs = zip(wanted, found, strict=False)
        return max((largest_change(a, b) for (_, a), (_, b) in pairs), default=0.0)

    return distance(now) < distance(before)


def _first_difference(a: nn.Module, b: nn.Module) -> tuple[str, float, float] | None:
    """The parameter that differs most: its name, by how much of its spread, and what may be rounding."""
    others = dict(b.named_parameters(remove_duplicate=False))
    worst: tuple[str, float, float] | None = None
    for name, parameter in a.named_parameters(remove_duplicate=False):
        if name in others and not same_bits(parameter, others[name]):
            change = largest_change(parameter, others[name])
            if worst is None or change > worst[1]:
                worst = (name, change, rounding_of(parameter.dtype))
    return worst


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _first_lines(text: str, marker: str = "") -> str:
    """An error of many lines, shortened: the line with `marker`, or the first two."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if marker and marker in line]
    return (marked[0] if marked else " ".join(lines[:2]))[:300]


def _finding(
    severity: Severity,
    message: str,
    where: Location | None = None,
    evidence: dict[str, Evidence] | None = None,
    *,
    cause: str,
    remedy: str,
) -> Finding:
    return Finding(CODE, severity, message, where or Location(), evidence=evidence or {}, cause=cause, remedy=remedy)
