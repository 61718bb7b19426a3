"""The first NaN or infinity: which operation made it, on what.

The loss is looked at before its backward runs, while the graph behind it still holds what each operation
kept: the first operation, in forward order, whose input is outside of its domain or whose result is not
finite, is where it began. Where the parameters were not finite before, it began in an earlier backward, and
the parameters tell how far from the loss it got.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from diagnose.collect._collector import Collector, Loss, Shared, Step
from diagnose.collect.callsite import CallSite
from diagnose.collect.graph import Node, nearest_leaf, nodes_in_order, operation_name, saved_tensors
from diagnose.collect.parameters import foreach_norms
from diagnose.collect.reading import Unseen, readable, to_floats

# Operation -> (which saved tensor to test, where it is outside of the domain, what to say).
_DOMAINS: Final[Mapping[str, tuple[str, Callable[[Tensor], Tensor], str]]] = {
    "log": ("self", lambda x: x <= 0, "the logarithm of a value that is 0 or negative"),
    "log2": ("self", lambda x: x <= 0, "the logarithm of a value that is 0 or negative"),
    "log10": ("self", lambda x: x <= 0, "the logarithm of a value that is 0 or negative"),
    "log1p": ("self", lambda x: x <= -1, "log1p of a value that is -1 or less"),
    "sqrt": ("result", lambda x: x == 0, "the square root of 0, whose derivative is infinite"),
    "rsqrt": ("result", torch.isinf, "one over the square root of 0"),
    "div": ("other", lambda x: x == 0, "a division by 0"),
    "reciprocal": ("result", torch.isinf, "a division by 0"),
    "exp": ("result", torch.isinf, "an exponential that overflows"),
    "acos": (
        "self",
        lambda x: x.abs() >= 1,
        "acos of a value at or beyond 1, where its derivative is infinite",
    ),
    "asin": (
        "self",
        lambda x: x.abs() >= 1,
        "asin of a value at or beyond 1, where its derivative is infinite",
    ),
    "linalgvectornorm": ("result", lambda x: x == 0, "the norm of a zero vector"),
    "norm": ("result", lambda x: x == 0, "the norm of a zero vector"),
}
# Saved tensor -> which of the node's inputs it is.
_INPUTS: Final = {
    "self": 0,
    "input": 0,
    "mat1": 1,
    "mat2": -1,
    "other": 1,
    "weight": 1,
    "exponent": 1,
}


class NonFiniteCollector(Collector):
    """Notes the first "non-finite" event of a run, with what can be known of its origin.

    Every loss on the CPU is looked at: the session wakes this collector when one is not finite. So is every norm
    that the user's own clipping has computed; all else on sampled steps.
    """

    name: ClassVar[str] = "non-finite"
    each_step: ClassVar[bool] = True

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._found = False
        self._last_loss: float | None = None
        self._suspicious: list[dict[str, Any]] = []
        self._surveyed = False
        self._site: CallSite | None = None

    def backward_begins(self, loss: Loss | None) -> None:
        if self._found or loss is None:
            return
        if not self._surveyed:
            self._surveyed = True
            self._site = loss.site
            self._suspicious = self._risky_operations(loss.tensor)
        if loss.value is None or math.isfinite(loss.value):
            self._last_loss = loss.value
            return
        with Unseen():
            self._note(self._origin_of(loss.tensor, loss.value))

    def step_begins(self, step: Step) -> None:
        self._look_at_gradients()

    def step_ends(self, step: Step) -> None:
        self._look_at_gradients()  # with a closure, they are only there now

    def _look_at_gradients(self) -> None:
        """Once a step really uses them: GradScaler skips a step with an overflow, and all is well."""
        if self._found or self.shared.gradients_are_finite:
            return
        with Unseen():
            bad = self._not_finite(lambda p: p.grad)
        if bad:
            self._note({"what": "gradient", "value": "nan or inf", **self._where_it_began(bad)})

    def _note(self, detail: dict[str, Any]) -> None:
        self._found = True
        detail.setdefault("file", self._site.file if self._site else None)
        detail.setdefault("line", self._site.line if self._site else None)
        detail["loss_before"] = self._last_loss
        step = max(self.shared.step_of.values(), default=0) + 1
        self.history.note("non-finite", step, str(detail["what"]), **detail)

    # -- origins --------------------------------------------------------------------------------------

    def _origin_of(self, loss: Tensor, value: float) -> dict[str, Any]:
        kind = "nan" if math.isnan(value) else "inf"
        if bad := self._not_finite(lambda p: p):
            return {"what": "parameter", "value": kind, **self._where_it_began(bad)}
        if loss.grad_fn is not None:
            for node in nodes_in_order(loss.grad_fn):
                if detail := self._fault_of(node):
                    return {"value": kind, **detail}
        return {
            "what": "loss",
            "value": kind,
            "operation": operation_name(loss.grad_fn) if loss.grad_fn else None,
        }

    def _fault_of(self, node: Node) -> dict[str, Any] | None:
        """What is wrong at this operation; None if nothing is, as far as it has kept what it worked on."""
        name = operation_name(node)
        saved = dict(saved_tensors(node))
        domain = _DOMAINS.get(name)
        if domain and domain[0] in saved and readable(saved[domain[0]]) and bool(domain[1](saved[domain[0]]).any()):
            return {
                "what": "loss",
                "explanation": domain[2],
                **self._described(node, saved[domain[0]]),
            }
        for key, tensor in saved.items():
            if not readable(tensor) or bool(torch.isfinite(tensor).all()):
                continue
            if key not in _INPUTS:
                return {"what": "activation", **self._described(node, tensor)}
            source = node.next_functions[_INPUTS[key]][0]
            if source is None:
                explanation = "the data fed to the model holds NaN or infinity"
                return {
                    "what": "input",
                    "explanation": explanation,
                    **self._described(node, tensor),
                }
            return {"what": "activation", **self._described(source, tensor)}
        return None

    def _described(self, node: Node, tensor: Tensor) -> dict[str, Any]:
        detail: dict[str, Any] = {"operation": operation_name(node)}
        leaf = nearest_leaf(node)
        name = self.inventory.parameter_name(leaf) if leaf is not None else None
        if name is not None:
            detail["module"] = self.inventory.owner(name)[0] or name
        finite = tensor[torch.isfinite(tensor)]
        if finite.numel():
            low, high = torch.aminmax(finite)
            detail["input_min"], detail["input_max"] = float(low), float(high)
        return detail

    def _not_finite(self, pick: Callable[[Tensor], Tensor | None]) -> list[str]:
        """Names of the parameters for which `pick` gives a tensor that is not finite."""
        picked = [(name, pick(p)) for name, p in self.inventory.parameters()]
        held = [(name, t.detach()) for name, t in picked if t is not None and readable(t)]
        norms = to_floats(foreach_norms([t for _, t in held]))
        # A norm can overflow where no element does.
        return [
            name
            for (name, tensor), norm in zip(held, norms, strict=True)
            if not math.isfinite(norm) and not bool(torch.isfinite(tensor).all())
        ]

    def _where_it_began(self, bad: list[str]) -> dict[str, Any]:
        """Backward goes from the loss to the input: of the bad parameters the last to run is next to the origin."""
        order = {name: facts.order for name, facts in self.history.parameters.items() if facts.order is not None}
        nearest = max(bad, key=lambda name: order.get(name, -1))
        known = len(self.history.parameters) or len(bad)
        detail: dict[str, Any] = {
            "parameter": nearest,
            "module": self.inventory.owner(nearest)[0] or None,
        }
        detail["bad_parameters"], detail["parameters"] = len(bad), known
        if self._suspicious:
            risky = self._suspicious[-1]
            detail["operation"] = risky["operation"]
            detail["explanation"] = risky["explanation"]
        return detail

    def _risky_operations(self, loss: Tensor) -> list[dict[str, Any]]:
        """The operations of the first graph that can make NaN of finite numbers in a backward."""
        if loss.grad_fn is None:
            return []
        return [
            {
                "operation": name,
                "explanation": f"the graph contains {name}: {_DOMAINS[name][2]} gives NaN or infinity",
            }
            for node in nodes_in_order(loss.grad_fn)
            if (name := operation_name(node)) in _DOMAINS and name not in ("exp",)
        ]
