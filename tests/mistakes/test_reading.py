"""Examples keep their names however the data are shuffled, split and batched, and can be read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from diagnose.errors import MistakesError
from diagnose.mistakes._reading import reader_of
from diagnose.mistakes._sources import file_of

VALUES = torch.arange(20.0)[:, None]
DATA = TensorDataset(VALUES, torch.arange(20))


def read(data: Any, **options: Any) -> dict[int, float]:
    """Position -> value of each example."""
    reader = reader_of(data, **options)
    found: dict[int, float] = {}
    count = 0
    for batch in reader.batches():
        inputs, targets = batch.content
        positions = batch.positions if batch.positions is not None else range(count, count + len(targets))
        count += len(targets)
        assert not found.keys() & set(positions), "an example was read twice"
        found.update(zip(positions, inputs[:, 0].tolist(), strict=True))
    return found


ALL = {n: float(n) for n in range(20)}


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(DATA, 3),
        DataLoader(DATA, 3, shuffle=True, drop_last=True),
        DataLoader(DATA, 3, sampler=RandomSampler(DATA, replacement=True, num_samples=7)),
        DataLoader(DATA, 3, sampler=WeightedRandomSampler([1.0] * 20, 5)),
        DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=True)),
    ],
    ids=["in order", "shuffled", "with replacement", "weighted", "batch sampler"],
)
def test_all_examples_are_read_in_order(loader: DataLoader[Any]) -> None:
    assert read(loader) == ALL
    assert list(read(loader)) == list(range(20))


def test_only_what_a_sampler_draws_from_is_read() -> None:
    part = [15, 3, 8]
    assert read(DataLoader(DATA, 2, sampler=SubsetRandomSampler(part))) == {3: 3.0, 8: 8.0, 15: 15.0}
    weighted = WeightedRandomSampler([0.0] * 18 + [1.0, 2.0], 40)
    assert read(DataLoader(DATA, 2, sampler=weighted)) == {18: 18.0, 19: 19.0}
    reader = reader_of(DataLoader(DATA, 2, sampler=SubsetRandomSampler(part)))
    assert reader.note == "The loader's sampler draws 3 of the 20 examples in the data set: these were read."


class Endless(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 4
            yield 2


class Buckets(Sampler[list[int]]):
    def __iter__(self) -> Iterator[list[int]]:
        yield [19, 0, 5]
        yield [7]


def test_samplers_of_the_users_own() -> None:
    assert read(DataLoader(DATA, 2, sampler=Endless())) == {2: 2.0, 4: 4.0}
    assert read(DataLoader(DATA, batch_sampler=Buckets())) == {n: float(n) for n in (0, 5, 7, 19)}


def test_a_sampler_is_not_moved() -> None:
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(DATA, 2, sampler=SubsetRandomSampler(range(5), generator=generator))
    before = generator.get_state()
    read(loader)
    assert torch.equal(generator.get_state(), before)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(VALUES[n], torch.tensor(n)) for n in range(20)])


class Doubling(DataLoader[Any]):
    """Changes batches on their way, so that it has to be iterated itself."""

    def __iter__(self) -> Any:
        return ((2 * inputs, targets) for inputs, targets in super().__iter__())


def test_streams_are_counted() -> None:
    assert read(Stream(), batch_size=6) == read(DataLoader(Stream(), 7)) == ALL
    assert read(Doubling(DATA, 4)) == {n: 2.0 * n for n in range(20)}
    assert "position in the stream" in reader_of(Stream()).note
    with pytest.raises(MistakesError, match="A Doubling that shuffles"):
        reader_of(Doubling(DATA, 4, shuffle=True))


def test_examples_are_read_again() -> None:
    for data in (
        DATA,
        DataLoader(DATA, 3, shuffle=True),
        (VALUES, torch.arange(20)),
        Stream(),
        DataLoader(Stream(), 3),
    ):
        reader = reader_of(data)
        inputs, target = reader.example(13)
        assert float(inputs) == 13 and int(target) == 13 and reader.rereads
    once = reader_of(iter([(VALUES, torch.arange(20))]))
    list(once.batches())
    assert once.example(3) is None and not once.rereads


class Pictures(Dataset[Any]):
    """As torchvision's ImageFolder."""

    def __init__(self, names: list[str]) -> None:
        self.samples = [(name, 0) for name in names]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return object(), 0


def test_file_names() -> None:
    cats, dogs = Pictures(["cat/0.png", "cat/1.png"]), Pictures(["dog/0.png"])
    both: Any = ConcatDataset([cats, dogs])
    assert [file_of(both, n) for n in range(3)] == ["cat/0.png", "cat/1.png", "dog/0.png"]
    assert file_of(Subset(both, [2, 0]), 0) == "dog/0.png"
    assert file_of(DATA, 0) is None
    cats.samples = [(Path("a") / "b.png", 0)] * 2  # type: ignore[list-item]
    assert file_of(cats, 1) == "a/b.png"


def test_what_cannot_be_put_into_a_batch() -> None:
    with pytest.raises(MistakesError, match=r"Examples 0 to 1 cannot be put into a batch.*collate_fn"):
        list(reader_of(Pictures(["a", "b"])).batches())
    collated = DataLoader(Pictures(["a", "b"]), 2, collate_fn=lambda rows: (torch.zeros(len(rows), 1), torch.zeros(2)))
    assert read(collated) == {0: 0.0, 1: 0.0}


class Endings(Dataset[Any]):
    def __getitem__(self, index: int) -> Tensor:
        return VALUES[index]


def test_data_without_a_length() -> None:
    with pytest.raises(MistakesError, match="Endings has no length"):
        reader_of(Endings())


def test_a_loader_that_makes_no_batches() -> None:
    ready = [default_collate([DATA[n] for n in part]) for part in ((0, 1, 2), (3, 4))]
    assert read(DataLoader(ready, batch_size=None)) == {n: float(n) for n in range(5)}  # type: ignore[arg-type]
