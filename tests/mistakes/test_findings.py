"""Labels that are suspect and classes that are confused: found where they were planted, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diagnose import mine_mistakes
from diagnose.mistakes import Mistakes, Scores


@cache
def digits() -> tuple[Tensor, Tensor]:
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def flipped(labels: Tensor, share: float) -> tuple[Tensor, set[int]]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    changed = labels.clone()
    changed[rows] = (changed[rows] + torch.randint(1, 10, (len(rows),), generator=generator)) % 10
    return changed, set(rows.tolist())


@cache
def trained(share: float, epochs: int = 12) -> nn.Module:
    images, labels = digits()
    labels, _ = flipped(labels, share)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    train = torch.arange(1000)
    for _ in range(epochs):
        for rows in train[torch.randperm(1000)].split(50):
            optimizer.zero_grad()
            F.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimizer.step()
    return net


def mined(share: float, part: slice, **options: Any) -> tuple[Mistakes, set[int]]:
    images, labels = digits()
    changed, rows = flipped(labels, share)
    mistakes = mine_mistakes(trained(share), (images[part], changed[part]), ids=range(1797)[part], **options)
    return mistakes, rows & set(range(1797)[part])


def found(mistakes: Mistakes, code: str = "suspect-labels") -> list[Any]:
    return [finding for finding in mistakes.findings if finding.code == code]


@pytest.mark.parametrize("part", [slice(0, 1000), slice(1000, 1797)], ids=["in sample", "held out"])
def test_clean_labels_are_not_suspect(part: slice) -> None:
    mistakes, _ = mined(0.0, part)
    assert not [finding for finding in mistakes.findings if finding.severity.value != "info"]
    assert not found(mistakes) and not found(mistakes, "confused-classes")


@pytest.mark.parametrize("part", [slice(0, 1000), slice(1000, 1797)], ids=["in sample", "held out"])
def test_flipped_labels_are_suspect(part: slice) -> None:
    mistakes, rows = mined(0.08, part, k=1000)
    (finding,) = found(mistakes)
    assert finding.severity.value == "warning"
    suspect = {entry.id for entry in mistakes.suspects if entry.tier in ("very-likely", "suspect")}
    assert len(suspect & rows) > 0.7 * len(rows) and "wrong" not in finding.message
    assert "delete" in finding.remedy.lower()


def scores(given: np.ndarray, predicted: np.ndarray, **options: Any) -> Scores:
    size = len(given)
    return Scores(
        **{
            "task": "classification",
            "ids": tuple(range(size)),
            "loss": np.ones(size, dtype=np.float32),
            "given": given,
            "predicted": predicted,
            "confidence": np.full(size, 0.9, dtype=np.float32),
            "margin": np.where(given == predicted, 0.8, -0.8).astype(np.float32),
            **options,
        }
    )


def test_a_model_that_errs_often_is_no_witness() -> None:
    draw = np.random.default_rng(0)
    given = draw.integers(0, 10, 2000)
    predicted = np.where(draw.random(2000) < 0.4, draw.integers(0, 10, 2000), given)
    (finding,) = found(Mistakes(scores(given, predicted)))
    assert finding.severity.value == "info" and "its own mistakes" in finding.message


@pytest.mark.parametrize(("rest", "count"), [(0.25, 0), (0.06, 1)])
def test_mistakes_where_the_model_is_unsure_are_its_own(rest: float, count: int) -> None:
    """2 % in the surest quarter: little beside a quarter of the others, much beside 6 % of them."""
    draw = np.random.default_rng(0)
    size = 8000
    given = draw.integers(0, 10, size)
    share = np.where(np.arange(size) < size // 4, 0.02, rest)
    predicted = np.where(draw.random(size) < share, (given + 1) % 10, given)
    sure = np.linspace(0.99, 0.4, size).astype(np.float32)
    assert len(found(Mistakes(scores(given, predicted, confidence=sure)))) == count


def test_a_tracked_training_is_judged_by_the_shape_of_its_margins() -> None:
    draw = np.random.default_rng(0)
    given = np.zeros(5000, dtype=np.int64)
    tail = (1 - draw.exponential(0.3, 5000)).clip(-1, 1).astype(np.float32)
    assert not found(Mistakes(scores(given, given, margin=tail, source="training", epochs=9)))
    noisy = np.where(draw.random(5000) < 0.05, draw.normal(-0.8, 0.1, 5000).clip(-1, 1), tail).astype(np.float32)
    (finding,) = found(Mistakes(scores(given, given, margin=noisy, source="training", epochs=9)))
    assert finding.severity.value == "warning" and finding.evidence["epochs"] == 9


def test_classes_that_are_taken_for_one_another() -> None:
    given = np.repeat(np.arange(5), 200)
    predicted = given.copy()
    predicted[:50] = 3
    predicted[200:206] = [0, 2, 3, 4, 0, 2]
    mistakes = Mistakes(scores(given, predicted, classes=("cat", "b", "c", "dog", "e")))
    (finding,) = found(mistakes, "confused-classes")
    assert finding.severity.value == "info" and "cat for dog: 50 of 200" in finding.message
    predicted[:150] = 3
    (finding,) = found(Mistakes(scores(given, predicted)), "confused-classes")
    assert finding.severity.value == "warning" and "0 for 3" in finding.message


def test_mistakes_that_are_spread_confuse_no_classes() -> None:
    draw = np.random.default_rng(0)
    given = draw.integers(0, 4, 4000)
    predicted = np.where(draw.random(4000) < 0.5, draw.integers(0, 4, 4000), given)
    assert not found(Mistakes(scores(given, predicted)), "confused-classes")


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("predicted", [0, 1])
def test_hardly_any_examples(size: int, predicted: int) -> None:
    nothing = np.zeros(size, dtype=np.int64)
    assert not Mistakes(scores(nothing, nothing + predicted)).findings


def test_a_model_that_guesses_confuses_no_classes() -> None:
    numbers = np.random.default_rng(0)
    given, guessed = numbers.integers(0, 2, 400), numbers.integers(0, 2, 400)
    nothing = np.full(400, np.nan, dtype=np.float32)
    scores = Scores("classification", tuple(range(400)), nothing, given, guessed, nothing, nothing)
    mistakes = Mistakes(scores)
    assert mistakes.is_no_better_than_constant and not mistakes.findings
    assert f"always saying {mistakes.constant[0]} has " in str(mistakes)  # type: ignore[index]
    rare = np.where(np.arange(400) < 40, 1, 0)
    collapsed = Mistakes(replace(scores, given=rare, predicted=np.zeros_like(rare)))
    assert [finding.severity.value for finding in collapsed.findings] == ["warning"]
    good = Mistakes(replace(scores, predicted=np.where(np.arange(400) < 40, guessed, given)))
    assert not good.is_no_better_than_constant and "always saying" not in str(good)
