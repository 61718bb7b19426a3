"""Right backwards pass, wrong ones are found, located and described."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diagnose import CheckError, check_gradients
from tests.gradcheck.functions import Planted, Square, Wrong, changed, numbers, planted

RIGHT: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "custom": (Square.apply, (numbers(3, 4),)),
    "matmul": (torch.matmul, (numbers(3, 4), numbers(4, 2, seed=1))),
    "broadcast": (torch.add, (numbers(3, 4), numbers(4, seed=1))),
    "scalar": (torch.exp, (numbers(),)),
    "softmax": (lambda x: x.softmax(1), (numbers(3, 4),)),
    "saturated softmax": (lambda x: (40 * x).softmax(1), (numbers(3, 4),)),
    "cumprod": (lambda x: x.cumprod(1), (numbers(3, 4),)),
    "conv": (F.conv1d, (numbers(2, 3, 8), numbers(4, 3, 3, seed=1))),
    "cross entropy": (lambda x: F.cross_entropy(x, torch.tensor([0, 2, 1])), (numbers(3, 4),)),
    "complex": (lambda z: z * z.conj() + z.exp(), (numbers(3, dtype=torch.complex128),)),
    "complex to real": (torch.abs, (numbers(3, dtype=torch.complex128),)),
    "real to complex": (torch.fft.fft, (numbers(8),)),
    "in place": (lambda x: x.mul_(2).sin_(), (numbers(3, 4),)),
    "view": (lambda x: x.t()[1:].reshape(-1), (numbers(3, 4),)),
    "several outputs": (lambda x: {"a": x.sin(), "b": (x.exp(), x.argmax())}, (numbers(3, 4),)),
    "masked with -inf": (
        lambda x: x.masked_fill(torch.eye(3, dtype=torch.bool), -torch.inf),
        (numbers(3, 3),),
    ),
    "tiny outputs": (lambda x: 1e-9 * x.sin(), (numbers(3, 4),)),
    "huge outputs": (lambda x: 1e9 * x.sin(), (numbers(3, 4),)),
    "units of 1e7": (lambda x: (1e7 * x).sin(), (1e-7 * numbers(3, 4),)),
    "units of 1e-7": (lambda x: (1e-7 * x).sin(), (1e7 * numbers(3, 4),)),
    "zeros": (lambda x: x.sin() + x.cos(), (torch.zeros(3, 4, dtype=torch.float64),)),
    "random numbers": (lambda x: F.dropout(x, 0.5) * torch.rand(4), (numbers(3, 4),)),
    "steps": (lambda x: torch.round(x, decimals=3) + x, (numbers(3, 4),)),
    "sparse gradient": (lambda w: F.embedding(torch.tensor([0, 2]), w, sparse=True), (numbers(4, 3),)),
    "large offset": (lambda x: 1e6 + x.sin(), (numbers(3, 4),)),
    "zero gradient": (lambda x: x - x.detach() * 0 - x.clone(), (numbers(3, 4),)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_backward_passes(name: str) -> None:
    function, inputs = RIGHT[name]
    report = check_gradients(function, inputs)
    assert report.ok, str(report)
    assert {entry.verdict for entry in report.entries} == {"ok"}
    report.raise_if_wrong()


def one_element(gradient: Tensor) -> Tensor:
    flat = gradient.reshape(-1).clone()
    flat[5] *= 1.1
    return flat.view(gradient.shape)


def zeroed_tail(gradient: Tensor) -> Tensor:
    return gradient * (torch.arange(4) < 3)


def noisy(gradient: Tensor) -> Tensor:
    return gradient * (1 + 1e-3 * random.SystemRandom().uniform(0.1, 1))


def clamped(upstream: Tensor) -> Tensor:
    return upstream.clamp(-1, 1)


WRONG: dict[str, tuple[Wrong, str]] = {
    "sign": (changed(torch.neg), "sign is flipped"),
    "factor 2": (changed(lambda g: 2 * g), "2 times the numeric gradient"),
    "mean for sum": (changed(lambda g: g / 4), "4 times too small, and 4 is the size of an axis"),
    "1 % scale": (changed(lambda g: 1.01 * g), "1.01 times the numeric gradient"),
    "0.05 % scale": (changed(lambda g: 1.0005 * g), ""),
    "one element 10 %": (changed(one_element), "a single element is wrong"),
    "transposed": (changed(lambda g: g.t().reshape(g.shape).clone()), "transposed"),
    "shifted": (changed(lambda g: g.roll(1, 0)), "shifted by 1 along axis 0"),
    "reversed": (changed(lambda g: g.flip(1)), "in reverse order along axis 1"),
    "zeroed tail": (changed(zeroed_tail), "zero in [:, 3]"),
    "zero": (changed(torch.zeros_like), "zero everywhere"),
    "none": (Wrong(lambda grads, inputs: [None]), "no gradient comes back (None)"),
    "negative inputs": (
        Wrong(lambda grads, inputs: [torch.where(inputs[0] < 0, 2 * grads[0], grads[0])]),
        "wrong only where the tensor itself is negative",
    ),
    "upstream ignored": (Wrong(upstream=torch.ones_like), ""),
    "upstream clamped": (Wrong(upstream=clamped), ""),
    "upstream clamped far out": (Wrong(upstream=lambda u: u.clamp(-50, 50)), "right for upstream gradients around 1"),
    "noise": (changed(noisy), ""),
    "nan": (changed(lambda g: torch.where(torch.arange(4) == 1, torch.nan, g)), ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_backward_is_found_and_described(name: str) -> None:
    wrong, pattern = WRONG[name]
    report = check_gradients(planted(lambda x: x.sin() * x.cumsum(1), wrong), [numbers(4, 4)])
    (entry,) = report.entries
    assert entry.verdict == "fault"
    assert not report.ok
    assert pattern in str(entry.pattern), entry.pattern
    assert pattern in str(report)
    assert report.suspect is not None
    assert [source.name for source in report.suspect.functions] == ["Planted"]


@pytest.mark.parametrize("factor", [1e-9, 1e-6, 1e6, 1e9])
@pytest.mark.parametrize("change", [torch.neg, lambda g: 1.01 * g], ids=["sign", "1 %"])
def test_faults_are_found_at_any_scale_of_the_output(factor: float, change: Callable[[Tensor], Tensor]) -> None:
    assert not check_gradients(planted(lambda x: factor * x.sin(), changed(change)), [numbers(3, 4)]).ok


def test_the_wrong_element_is_named() -> None:
    report = check_gradients(planted(torch.sin, changed(one_element)), [numbers(4, 4)])
    (element,) = report.entries[0].elements
    assert element.index == (1, 1)
    assert element.ratio == pytest.approx(1.1, rel=1e-5)
    assert element.numeric == pytest.approx(element.analytic / 1.1, rel=1e-5)


def test_a_single_wrong_element_among_many_costs_few_forwards() -> None:
    report = check_gradients(planted(torch.sin, changed(one_element)), [numbers(100, 100)])
    (element,) = report.entries[0].elements
    assert element.index == (0, 5)
    assert report.entries[0].pattern == "a single element is wrong"
    assert report.forwards < 600


def test_which_of_the_inputs_is_wrong() -> None:
    wrong = Wrong(lambda grads, inputs: [grads[0], -grads[1]])
    report = check_gradients(planted(torch.matmul, wrong), [numbers(3, 4), numbers(4, 2, seed=1)])
    assert [entry.verdict for entry in report.entries] == ["ok", "fault"]


def test_the_wrong_imaginary_part_is_named() -> None:
    report = check_gradients(planted(lambda z: z * z, changed(torch.conj)), [numbers(3, dtype=torch.complex128)])
    (entry,) = report.entries
    assert entry.verdict == "fault"
    assert entry.total == 6
    assert all(len(element.index) == 2 for element in entry.elements)


def test_nan_where_the_function_has_a_derivative() -> None:
    """The trap of `where`: the branch that is not taken gives 0 * inf."""
    x = torch.tensor([-1.0, 0.5, -0.3], dtype=torch.float64)
    (entry,) = check_gradients(lambda x: torch.where(x > 0, x.sqrt(), torch.zeros_like(x)), [x]).entries
    assert entry.verdict == "fault"
    assert {element.index for element in entry.elements} == {(0,), (2,)}
    assert "finite derivative" in entry.elements[0].why


def test_inputs_that_cannot_be_checked() -> None:
    report = check_gradients(
        lambda x, index, empty: x[index].sum() + empty.sum(),
        [numbers(4), torch.tensor([0, 2]), torch.zeros(0, 3, dtype=torch.float64)],
    )
    assert {entry.name: (entry.verdict, entry.reason) for entry in report.entries} == {
        "x": ("ok", ""),
        "index": ("not-checkable", "int64 has no gradient"),
        "empty": ("not-checkable", "it has no elements"),
    }
    assert report.ok


def test_only_what_requires_a_gradient_if_anything_does() -> None:
    report = check_gradients(torch.mul, [numbers(3).requires_grad_(), numbers(3, seed=1)])
    assert [entry.verdict for entry in report.entries] == ["ok", "not-checkable"]


def test_an_unused_input_is_right_and_a_detached_one_is_wrong() -> None:
    report = check_gradients(lambda x, unused, cut: x * cut.detach(), [numbers(3), numbers(3), numbers(3, seed=1)])
    x, unused, cut = report.entries
    assert (x.verdict, unused.verdict, cut.verdict) == ("ok", "ok", "fault")
    assert "none is needed" in unused.reason
    assert "detached" in str(cut.pattern)


def test_keyword_arguments_containers_and_names() -> None:
    def function(x: Tensor, *, pair: tuple[Tensor, Tensor], options: dict[str, Any]) -> Tensor:
        return x * pair[0] + pair[1] * options["scale"]

    inputs = {"x": numbers(3), "pair": (numbers(3), numbers(3)), "options": {"scale": numbers(1), "n": 3}}
    names = [entry.name for entry in check_gradients(function, inputs).entries]
    assert names == ["x", "pair[0]", "pair[1]", "options['scale']"]


@pytest.mark.parametrize(
    "inputs",
    [
        [numbers(3, 1).expand(3, 4)],
        [numbers(4, 3).t()],
        [numbers(6, 4)[::2]],
        [numbers(3, 4, dtype=torch.complex128).conj()],
    ],
    ids=["expanded", "transposed", "strided", "conjugated"],
)
def test_memory_layouts(inputs: list[Tensor]) -> None:
    report = check_gradients(lambda x: (x * x).cumsum(0), inputs)
    assert report.ok, str(report)


def test_the_same_tensor_twice_is_one_input() -> None:
    x = numbers(3)
    assert len(check_gradients(torch.mul, [x, x]).entries) == 1


def test_tensors_that_a_function_closes_over_are_parameters() -> None:
    weight = numbers(4, 2).requires_grad_()
    constant = numbers(2)
    report = check_gradients(lambda x: x @ weight + constant, [numbers(3, 4)])
    assert [(entry.name, entry.kind) for entry in report.entries] == [("x", "input"), ("weight", "parameter")]
    assert len(check_gradients(lambda x: x @ weight, [numbers(3, 4)], parameters=False).entries) == 1


def test_a_backward_that_raises() -> None:
    class Raises(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> Any:
            return upstream.new_zeros(7, 7)

    (entry,) = check_gradients(Raises.apply, [numbers(3)]).entries
    assert entry.verdict == "fault"
    assert "invalid gradient" in entry.reason


def test_a_forward_that_is_not_deterministic_is_unresolved() -> None:
    report = check_gradients(lambda x: x * random.SystemRandom().random(), [numbers(3)])
    assert [entry.verdict for entry in report.entries] == ["unresolved"]
    assert "not deterministic" in report.entries[0].reason
    assert not report.ok


def test_a_backward_that_is_not_deterministic_is_wrong() -> None:
    report = check_gradients(planted(torch.sin, changed(noisy)), [numbers(3)])
    assert "not deterministic" in report.entries[0].reason


def test_noise_as_large_as_the_derivative_is_unresolved() -> None:
    report = check_gradients(lambda x: 1e12 + 1e-6 * x, [numbers(3)])
    assert [entry.verdict for entry in report.entries] == ["unresolved"]
    assert not report.ok
    assert report.findings[0].code == "unresolved-gradient"


@pytest.mark.parametrize("mode", ["auto", "screen", "sampled", "exhaustive"])
def test_modes(mode: Any) -> None:
    x = numbers(20, 20)
    assert check_gradients(Square.apply, [x], mode=mode).ok
    report = check_gradients(planted(torch.sin, changed(one_element)), [x], mode=mode)
    assert not report.ok
    (entry,) = report.entries
    assert entry.checked == (400 if mode == "exhaustive" else entry.checked)
    assert (entry.elements != ()) or mode in ("screen", "sampled")


def test_the_same_seed_gives_the_same_report() -> None:
    def numbers_of(seed: int) -> list[float]:
        return [entry.error for entry in check_gradients(torch.sin, [numbers(3, 4)], seed=seed).entries]

    assert numbers_of(3) == numbers_of(3)
    assert numbers_of(3) != numbers_of(4)


@pytest.mark.parametrize(
    ("function", "inputs", "message"),
    [
        (lambda x: x.detach(), [numbers(3)], "Nothing that the function returns requires a gradient"),
        (lambda x: x.argmax(), [numbers(3)], "Nothing that the function returns requires a gradient"),
        (lambda x: x.no_such_method(), [numbers(3)], "<lambda> raised AttributeError: 'Tensor' object has no"),
        (lambda x: x, [torch.tensor([1, 2])], "<lambda> has no tensor whose gradient could be checked"),
        (3, [numbers(3)], "A int is no module and no function"),
    ],
)
def test_what_cannot_be_checked(function: Any, inputs: list[Tensor], message: str) -> None:
    with pytest.raises(CheckError, match=message.replace("<", r"\<")):
        check_gradients(function, inputs)


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="mode is 'fast', and has to be one of auto, screen, sampled, exhaustive"):
        check_gradients(torch.sin, [numbers(3)], mode="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="directions is 0"):
        check_gradients(torch.sin, [numbers(3)], directions=0)


def test_the_planted_function_itself_is_right_without_a_fault() -> None:
    assert check_gradients(lambda x: Planted.apply(torch.sin, Wrong(), x), [numbers(3)]).ok
