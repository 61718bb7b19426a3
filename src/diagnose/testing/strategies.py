"""Hypothesis strategies for tensors, batches and modules, for property tests of models.

    from hypothesis import given
    from diagnose.testing import strategies as st_torch

    @given(st_torch.tensors(st_torch.shapes(min_dims=2, max_dims=2), low=-5, high=5))
    def test_softmax_sums_to_one(x):
        torch.testing.assert_close(x.softmax(-1).sum(-1), torch.ones(len(x)))

Small tensors are drawn number by number and shrink to zeros and whole numbers; large ones come from a drawn seed, with
some of their numbers replaced. Nothing here draws from torch's global random state, or moves it. Needs hypothesis:
pip install 'torch-diagnose[hypothesis]'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import DrawFn, SearchStrategy
except ImportError as error:
    raise ImportError(
        "diagnose.testing.strategies needs hypothesis, which is not installed: pip install 'torch-diagnose[hypothesis]'"
    ) from error

Shape: TypeAlias = tuple[int, ...]
Task = Literal["classification", "regression", "binary", "multi-label"]
Kind = Literal["mlp", "conv", "recurrent", "attention", "embedding"]

DRAWN_ONE_BY_ONE: Final = 24
"""Elements up to which a tensor is drawn number by number. Hypothesis allows about 8 kB of choices per example."""

FLOAT_DTYPES: Final = (torch.float32, torch.float64)
HALF_DTYPES: Final = (torch.float16, torch.bfloat16)


def dtypes(*, half: bool = False) -> SearchStrategy[torch.dtype]:
    """Floating point types: float32 and float64, and with `half` also float16 and bfloat16."""
    return st.sampled_from(FLOAT_DTYPES + HALF_DTYPES if half else FLOAT_DTYPES)


def shapes(*, min_dims: int = 1, max_dims: int = 3, min_side: int = 1, max_side: int = 8) -> SearchStrategy[Shape]:
    """Shapes of tensors; with `min_side=0` also of empty ones."""
    side = st.integers(min_side, max_side)
    return st.lists(side, min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def tensors(
    draw: DrawFn,
    shape: Shape | SearchStrategy[Shape] | None = None,
    *,
    dtype: torch.dtype | SearchStrategy[torch.dtype] = torch.float32,
    low: float = -10.0,
    high: float = 10.0,
    nan: bool = False,
    infinity: bool = False,
    layouts: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Floating point tensors with values in [low, high].

    Large ones are now and then all zeros, constant or tiny, and hold the bounds, zeros and negative zeros.

    Args:
        shape: a shape or a strategy for shapes; None for any of `shapes()`.
        dtype: a floating point type, or a strategy for such.
        nan, infinity: whether some values may be NaN, or infinite.
        layouts: whether tensors may also be transposed or strided views, so that they are not contiguous.
        requires_grad: of the tensor.

    Raises:
        ValueError: low > high, or an integer type: see `class_targets` and `token_sequences`.
    """
    kind = draw(dtype) if isinstance(dtype, SearchStrategy) else dtype
    if not kind.is_floating_point:
        raise ValueError(f"dtype={kind} is no floating point type; class_targets and token_sequences give integers")
    limit = torch.finfo(kind).max
    low, high = max(low, -limit), min(high, limit)
    if not low <= high:
        raise ValueError(f"low={low} is above high={high}")
    size = _drawn(draw, shape) if shape is not None else draw(shapes())
    values = _values(draw, math.prod(size), low, high, nan, infinity)
    tensor = values.to(kind).clamp(low, high) if not (nan or infinity) else values.to(kind)
    tensor = tensor.reshape(size)
    if layouts:
        tensor = _laid_out(tensor, draw(st.sampled_from(("contiguous", "transposed", "strided"))))
    return tensor.requires_grad_() if requires_grad else tensor


def class_targets(shape: Shape | SearchStrategy[Shape], classes: int) -> SearchStrategy[Tensor]:
    """Integer targets in [0, classes), of type int64: what `cross_entropy` takes.

    Raises:
        ValueError: there is no class.
    """
    if classes < 1:
        raise ValueError(f"classes={classes}: there has to be at least one")
    return _integers(shape, 0, classes - 1)


@st.composite
def token_sequences(
    draw: DrawFn,
    vocabulary: int,
    *,
    batch: int | SearchStrategy[int] | None = None,
    length: int | SearchStrategy[int] | None = None,
    padding: int | None = None,
    min_length: int = 1,
) -> Tokens:
    """Batches of token sequences; with `padding` of different lengths, the shortest and the full one among them.

    Args:
        vocabulary: tokens are in [0, vocabulary).
        batch, length: numbers or strategies for such; None for 1 to 4, and 1 to 12.
        padding: the token with which shorter sequences are filled up at their end; no sequence contains it. None for
            sequences of equal length.
        min_length: of a sequence that is padded.

    Raises:
        ValueError: there is no token beside the padding, or `min_length` is above `length`.
    """
    rows = _number(draw, batch, 1, 4)
    columns = _number(draw, length, max(1, min_length), 12)
    choices = [token for token in range(vocabulary) if token != padding]
    if not choices:
        raise ValueError(f"vocabulary={vocabulary}, padding={padding}: there is no token to draw")
    if not 1 <= min_length <= columns:
        raise ValueError(f"min_length={min_length}, length={columns}: 1 <= min_length <= length is needed")
    places = draw(_integers((rows, columns), 0, len(choices) - 1))
    tokens = torch.tensor(choices)[places]
    lengths = [columns] * rows
    if padding is not None:
        lengths = draw(st.lists(st.integers(min_length, columns), min_size=rows, max_size=rows))
    mask = torch.arange(columns) < torch.tensor(lengths)[:, None]
    if padding is not None:
        tokens = torch.where(mask, tokens, padding)
    return Tokens(tokens, mask)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token sequences.

    Attributes:
        ids: shape (N, T), int64.
        mask: shape (N, T), bool: True where there is a token, False at padding.
    """

    ids: Tensor
    mask: Tensor

    @property
    def lengths(self) -> Tensor:
        """Shape (N,): how many tokens each sequence has."""
        return self.mask.sum(1)


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs with targets and a loss function that fits them.

    Attributes:
        inputs: shape (N, *).
        targets: what `loss_fn` takes beside an output of shape (N, outputs).
        outputs: how wide that output has to be.
        loss_fn: returns a scalar.
    """

    inputs: Tensor
    targets: Tensor
    outputs: int
    loss_fn: Callable[[Tensor, Tensor], Tensor]
    task: Task


@st.composite
def batches(
    draw: DrawFn,
    shape: Shape | SearchStrategy[Shape] | None = None,
    *,
    task: Task | None = None,
    batch: int | SearchStrategy[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """Batches for supervised training.

    Args:
        shape: of one example; None for vectors of 1 to 8 features.
        task: "classification" (int64 classes), "regression", "binary" (one logit), "multi-label"; None for any.
        batch: how many examples, a number or a strategy; None for 1 to 8.
        dtype: of inputs and of floating point targets.

    Raises:
        ValueError: an unknown task.
    """
    rows = _number(draw, batch, 1, 8)
    one = _drawn(draw, shape) if shape is not None else (draw(st.integers(1, 8)),)
    chosen = _chosen(draw, task)
    inputs = draw(tensors((rows, *one), dtype=dtype, low=-3, high=3))
    targets, outputs, loss_fn = _task(draw, chosen, rows, dtype)
    return Batch(inputs, targets, outputs, loss_fn, chosen)


@dataclass(frozen=True, eq=False)
class Case:
    """A module with inputs that fit, and with targets for its output.

    Attributes:
        module: with parameters from a drawn seed, in training mode.
        inputs: shape (N, *): the module's only argument.
        targets, loss_fn: as in `Batch`.
        kind: what sort of module it is.
    """

    module: nn.Module
    inputs: Tensor
    targets: Tensor
    loss_fn: Callable[[Tensor, Tensor], Tensor]
    kind: Kind
    task: Task

    def loss(self) -> Tensor:
        """The scalar loss of the module on its batch."""
        return self.loss_fn(self.module(self.inputs), self.targets)


@st.composite
def modules(
    draw: DrawFn,
    *,
    kinds: Sequence[Kind] = get_args(Kind),
    task: Task | None = None,
    dropout: bool = True,
    batch_norm: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """Small modules as people build them, each with a batch of 2 to 6 examples: multilayer perceptrons, convolutions,
    recurrent nets, self-attention and embeddings.

    Args:
        kinds: those to choose from.
        task: as in `batches`.
        dropout, batch_norm: whether there may be some; without them a module in training mode draws no random numbers,
            and treats each example alone.
        dtype: of parameters and inputs.

    Raises:
        ValueError: an unknown kind or task.
    """
    for kind in kinds:
        if kind not in _BUILDERS:
            raise ValueError(f"kinds: {kind!r} is none of {', '.join(_BUILDERS)}")
    kind = draw(st.sampled_from(list(kinds)))
    rows = draw(st.integers(2, 6))
    chosen = _chosen(draw, task)
    targets, outputs, loss_fn = _task(draw, chosen, rows, dtype)
    p = draw(st.sampled_from((0.0, 0.2))) if dropout else 0.0
    normalised = draw(st.booleans()) if batch_norm else False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 2**16)))
        module, inputs = _BUILDERS[kind](draw, rows, outputs, p, normalised)
    inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    return Case(module.to(dtype), inputs, targets, loss_fn, kind, chosen)


# ---------------------------------------------------------------------- numbers


def _values(draw: DrawFn, count: int, low: float, high: float, nan: bool, infinity: bool) -> Tensor:
    """Shape (count,), float64."""
    special = [value for value in (0.0, -0.0, low, high) if low <= value <= high]
    special += [math.nan] if nan else []
    special += [math.inf, -math.inf] if infinity else []
    one = st.one_of(st.floats(low, high, width=64), st.sampled_from(special))
    if count <= DRAWN_ONE_BY_ONE:
        return torch.tensor(draw(st.lists(one, min_size=count, max_size=count)), dtype=torch.float64)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    kind = draw(st.sampled_from(("constant", "uniform", "tiny")))
    values = torch.full((count,), draw(one), dtype=torch.float64)
    if kind != "constant":
        values = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
    if kind == "tiny" and low <= 0 <= high:
        values *= 1e-6
    for place, value in draw(st.lists(st.tuples(st.integers(0, count - 1), one), max_size=4)):
        values[place] = value
    return values


def _integers(shape: Shape | SearchStrategy[Shape], low: int, high: int) -> SearchStrategy[Tensor]:
    @st.composite
    def drawn(draw: DrawFn) -> Tensor:
        size = _drawn(draw, shape)
        count = math.prod(size)
        if count <= DRAWN_ONE_BY_ONE:
            numbers = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
            return torch.tensor(numbers, dtype=torch.int64).reshape(size)
        generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
        return torch.randint(low, high + 1, size, generator=generator)

    return drawn()


def _laid_out(tensor: Tensor, layout: str) -> Tensor:
    """The same numbers in another memory layout."""
    if layout == "transposed" and tensor.dim() > 1:
        return tensor.mT.contiguous().mT
    if layout == "strided" and tensor.dim():
        return torch.stack((tensor, torch.zeros_like(tensor)), -1)[..., 0]
    return tensor


def _drawn(draw: DrawFn, shape: Shape | SearchStrategy[Shape]) -> Shape:
    return tuple(draw(shape)) if isinstance(shape, SearchStrategy) else tuple(shape)


def _number(draw: DrawFn, given: int | SearchStrategy[int] | None, low: int, high: int) -> int:
    if given is None:
        return draw(st.integers(low, high))
    return draw(given) if isinstance(given, SearchStrategy) else given


def _chosen(draw: DrawFn, task: Task | None) -> Task:
    if task is not None and task not in get_args(Task):
        raise ValueError(f"task={task!r}: has to be one of {', '.join(get_args(Task))}")
    any_of_them: Task = draw(st.sampled_from(get_args(Task)))
    return any_of_them if task is None else task


def _task(
    draw: DrawFn, task: Task, rows: int, dtype: torch.dtype
) -> tuple[Tensor, int, Callable[[Tensor, Tensor], Tensor]]:
    """Targets, the width of the output, and the loss function."""
    if task == "classification":
        classes = draw(st.integers(2, 5))
        return draw(class_targets((rows,), classes)), classes, nn.functional.cross_entropy
    if task == "regression":
        width = draw(st.integers(1, 3))
        return draw(tensors((rows, width), dtype=dtype, low=-3, high=3)), width, nn.functional.mse_loss
    width = 1 if task == "binary" else draw(st.integers(2, 4))
    targets = draw(_integers((rows, width), 0, 1)).to(dtype)
    return targets, width, nn.functional.binary_cross_entropy_with_logits


# ---------------------------------------------------------------------- modules

Builder: TypeAlias = Callable[[DrawFn, int, int, float, bool], tuple[nn.Module, Tensor]]


def _activation(draw: DrawFn) -> nn.Module:
    kinds: tuple[type[nn.Module], ...] = (nn.ReLU, nn.GELU, nn.Tanh, nn.SiLU)
    return draw(st.sampled_from(kinds))()


def _mlp(draw: DrawFn, rows: int, outputs: int, p: float, normalised: bool) -> tuple[nn.Module, Tensor]:
    widths = [draw(st.integers(1, 8)) for _ in range(draw(st.integers(1, 3)))]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if normalised else []), _activation(draw)]
        layers += [nn.Dropout(p)] if p else []
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs)), torch.randn(rows, widths[0])


def _conv(draw: DrawFn, rows: int, outputs: int, p: float, normalised: bool) -> tuple[nn.Module, Tensor]:
    channels, width, side = draw(st.integers(1, 3)), draw(st.integers(2, 6)), draw(st.integers(4, 8))
    norm = nn.BatchNorm2d(width) if normalised else nn.GroupNorm(1, width)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *([nn.Dropout(p)] if p else []), nn.Linear(width, outputs)]
    module = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), norm, _activation(draw), *head)
    return module, torch.randn(rows, channels, side, side)


class _Recurrent(nn.Module):
    """The last state of a recurrent net, and a linear layer."""

    def __init__(self, cell: Callable[..., nn.Module], inputs: int, hidden: int, outputs: int, p: float) -> None:
        super().__init__()
        self.rnn = cell(inputs, hidden, batch_first=True)
        self.drop = nn.Dropout(p)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x_NTC: Tensor) -> Tensor:
        states, _ = self.rnn(x_NTC)
        result: Tensor = self.head(self.drop(states[:, -1]))
        return result


def _recurrent(draw: DrawFn, rows: int, outputs: int, p: float, _normalised: bool) -> tuple[nn.Module, Tensor]:
    cell: Callable[..., nn.Module] = draw(st.sampled_from((nn.GRU, nn.LSTM, nn.RNN)))
    features, hidden, length = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    return _Recurrent(cell, features, hidden, outputs, p), torch.randn(rows, length, features)


class _Attention(nn.Module):
    """A transformer layer, the mean over positions, and a linear layer."""

    def __init__(self, width: int, heads: int, outputs: int, p: float) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(width, heads, 2 * width, p, batch_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x_NTC: Tensor) -> Tensor:
        result: Tensor = self.head(self.layer(x_NTC).mean(1))
        return result


def _attention(draw: DrawFn, rows: int, outputs: int, p: float, _normalised: bool) -> tuple[nn.Module, Tensor]:
    heads, length = draw(st.integers(1, 2)), draw(st.integers(1, 5))
    width = heads * draw(st.integers(2, 4))
    return _Attention(width, heads, outputs, p), torch.randn(rows, length, width)


class _Bag(nn.Module):
    """The mean of embeddings, and a linear layer."""

    def __init__(self, vocabulary: int, width: int, outputs: int, p: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.drop = nn.Dropout(p)
        self.head = nn.Linear(width, outputs)

    def forward(self, ids_NT: Tensor) -> Tensor:
        result: Tensor = self.head(self.drop(self.embedding(ids_NT).mean(1)))
        return result


def _embedding(draw: DrawFn, rows: int, outputs: int, p: float, _normalised: bool) -> tuple[nn.Module, Tensor]:
    vocabulary, width, length = draw(st.integers(2, 12)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return _Bag(vocabulary, width, outputs, p), torch.randint(0, vocabulary, (rows, length))


_BUILDERS: Final[Mapping[str, Builder]] = {
    "mlp": _mlp,
    "conv": _conv,
    "recurrent": _recurrent,
    "attention": _attention,
    "embedding": _embedding,
}

__all__ = [
    "Batch",
    "Case",
    "Tokens",
    "batches",
    "class_targets",
    "dtypes",
    "modules",
    "shapes",
    "tensors",
    "token_sequences",
]
