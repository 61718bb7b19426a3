"""device_and_dtype_transfer: what does not follow the model is named with its line, or its attribute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import Status, device_and_dtype_transfer
from diagnose.errors import CheckError
from tests.checks import models
from tests.checks.models import Case


@pytest.mark.parametrize("make", models.HEALTHY)
def test_healthy_models_follow(make: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    case = make()
    before = models.snapshot(case)
    result = device_and_dtype_transfer(case.model, case.inputs)
    assert result.status is not Status.FAILED, str(result)
    # nn.Transformer looks into its masks, which the meta device cannot do.
    devices = [] if make is models.translator else ["meta"]
    assert result.evidence["ran"] == ["float64", "bfloat16", "float16", *devices]
    models.assert_untouched(case, before)


class Faulty(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.linear = kind, nn.Linear(4, 4)
        self.rnn = nn.GRU(4, 4, batch_first=True)
        if kind == "attribute":
            self.scale = torch.rand(4, 4)
        if kind == "list":
            self.layers = [nn.Linear(4, 4)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        if self.kind == "zeros":
            padding = torch.zeros(len(x), 4)
            return self.linear(padding) + x
        if self.kind == "cast":
            x = x.float()
            return self.linear(x.relu())
        if self.kind == "state":
            state = torch.zeros(1, len(x), 4)
            return self.rnn(x[:, None], state)[0]
        if self.kind == "attribute":
            return x @ self.scale[:4]
        if self.kind == "list":
            return self.layers[0](x)
        if self.kind == "mask":
            return x.masked_fill(x > 0, -1e9).softmax(-1)
        return x


LINES = {"zeros": "torch.zeros(len(x), 4)", "cast": "x.float()", "state": "torch.zeros(1,", "mask": "-1e9"}


@pytest.mark.parametrize("kind", ["zeros", "cast", "state", "mask"])
def test_the_line_that_fixes_a_type_is_named(kind: str) -> None:
    with open(__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    result = device_and_dtype_transfer(Faulty(kind), torch.randn(5, 4), devices=())
    assert result.status is Status.FAILED
    finding = result.findings[0]
    assert (finding.code, finding.severity.value) == ("hard-coded-dtype", "warning")
    assert finding.where.file == __file__
    assert LINES[kind] in lines[finding.where.line - 1]  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["zeros", "state"])
def test_the_line_that_fixes_a_device_is_named(kind: str) -> None:
    with open(__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    result = device_and_dtype_transfer(Faulty(kind), torch.randn(5, 4), dtypes=())
    assert result.status is Status.FAILED, str(result)
    finding = result.findings[0]
    assert finding.code == "hard-coded-device"
    assert LINES[kind] in lines[finding.where.line - 1]  # type: ignore[operator]


def test_a_mask_that_is_made_on_the_cpu_is_named() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, nn.Transformer.generate_square_subsequent_mask(x.shape[1]))

    result = device_and_dtype_transfer(Masked(), torch.randn(2, 5, 4))
    assert result.findings[0].code == "hard-coded-device", str(result)
    assert result.findings[0].where.file == __file__


@pytest.mark.parametrize(("kind", "name"), [("attribute", "scale"), ("list", "layers")])
def test_attributes_that_stay_behind_are_named(kind: str, name: str) -> None:
    result = device_and_dtype_transfer(Faulty(kind), torch.randn(5, 4))
    assert result.status is Status.FAILED
    assert {(f.code, f.where.parameter) for f in result.findings} == {
        ("hard-coded-dtype", name),
        ("hard-coded-device", name),
    }


def test_what_is_cast_on_purpose_is_no_fault() -> None:
    class Upcast(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).float().softmax(-1)

    result = device_and_dtype_transfer(Upcast(4, 4), torch.randn(5, 4))
    assert result.ok
    assert [f.severity.value for f in result.findings] == ["info"]


def test_what_needs_values_or_kernels_is_told_and_not_blamed() -> None:
    class Counting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * x.sum().item()

    result = device_and_dtype_transfer(Counting(4, 4), torch.randn(5, 4))
    assert result.ok
    assert "meta" in result.evidence["not_judged"]  # type: ignore[operator]

    class Fourier(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x).abs()

    assert device_and_dtype_transfer(Fourier(), torch.randn(5, 4)).ok


def test_indices_on_the_cpu_are_allowed() -> None:
    class Choosing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, torch.tensor([0, 2])]

    assert device_and_dtype_transfer(Choosing(4, 4), torch.randn(5, 4)).ok


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there() -> None:
    class Wanting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.zeros(4, device="cuda")

    result = device_and_dtype_transfer(Wanting(4, 4), torch.randn(5, 4))
    assert result.findings[0].code == "hard-coded-device"
    assert result.findings[0].where.file == __file__


@pytest.mark.gpu
def test_a_gpu_that_is_there() -> None:
    case = models.convolutional()
    result = device_and_dtype_transfer(case.model, case.inputs)
    assert "cuda" in result.evidence["ran"]  # type: ignore[operator]
    assert device_and_dtype_transfer(Faulty("zeros"), torch.randn(5, 4)).status is Status.FAILED


def test_a_model_that_does_not_run_is_told() -> None:
    with pytest.raises(CheckError, match="Linear raised"):
        device_and_dtype_transfer(nn.Linear(3, 3), torch.randn(2, 4))


@settings(max_examples=10)
@given(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]), st.integers(1, 5))
def test_plain_nets_follow_from_every_type(dtype: torch.dtype, depth: int) -> None:
    model = nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.GELU()) for _ in range(depth)])
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    result = device_and_dtype_transfer(model.to(dtype), torch.randn(2, 3, dtype=dtype), dtypes=kinds)
    assert result.ok
    assert len(result.evidence["ran"]) == 4  # type: ignore[arg-type]
