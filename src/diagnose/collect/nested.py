"""Tensors inside of what models are given and put out: mappings, sequences and dataclasses, one in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, Final

from torch import Tensor

_DEPTH: Final = 4


def tensors_in(value: Any, depth: int = _DEPTH) -> Iterator[Tensor]:
    """The tensors in `value`, in order, at most `depth` containers deep."""
    if isinstance(value, Tensor):
        yield value
    elif depth:
        for item in _items(value):
            yield from tensors_in(item, depth - 1)


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif is_dataclass(value) and not isinstance(value, type):
        yield from vars(value).values()


def mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """`value` with every tensor replaced; other containers than plain lists, tuples and dicts are passed on."""
    if isinstance(value, Tensor):
        return function(value)
    if type(value) in (list, tuple):
        return type(value)(mapped(item, function) for item in value)
    if type(value) is dict:
        return {key: mapped(item, function) for key, item in value.items()}
    return value
