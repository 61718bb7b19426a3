"""Groups with an unusual error: planted ones are found, chance ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.errors import MistakesError
from diagnose.mistakes import Mistakes, Scores
from diagnose.mistakes._slices import _holm, slices

F = np.float32


def scores(wrong: np.ndarray, loss: np.ndarray | None = None, task: str = "classification") -> Scores:
    size = len(wrong)
    return Scores(
        task=task,  # type: ignore[arg-type]
        ids=tuple(range(size)),
        loss=(wrong * 2.0 + 0.1 if loss is None else loss).astype(F),
        given=np.zeros(size, dtype=np.int64),
        predicted=wrong.astype(np.int64),
        confidence=np.full(size, 0.9, dtype=F),
        margin=np.where(wrong, -0.8, 0.8).astype(F),
    )


def planted(seed: int = 0) -> tuple[np.ndarray, dict[str, list[object]]]:
    draw = np.random.default_rng(seed)
    site = draw.choice(["a", "b", "c", "d"], 1000)
    age = draw.uniform(20, 80, 1000)
    wrong = draw.random(1000) < np.where(site == "c", 0.3, 0.05)
    return wrong, {"site": site.tolist(), "age": age.tolist(), "day": draw.choice(7, 1000).tolist()}


def test_a_planted_group_is_found_and_nothing_else() -> None:
    wrong, metadata = planted()
    found = slices(scores(wrong), metadata)
    assert found[0].where == {"site": "c"} and found[0].is_worse
    assert all(part.where.get("site") == "c" or not part.is_worse for part in found)
    assert found[0].error.low > 0.2 and found[0].rest < 0.1 and found[0].p < 1e-6
    assert all(wrong[row] for row in found[0].ids)


def test_where_two_columns_meet() -> None:
    draw = np.random.default_rng(1)
    one, two = draw.choice(["x", "y"], 2000), draw.choice(["u", "v"], 2000)
    wrong = draw.random(2000) < np.where((one == "x") & (two == "u"), 0.35, 0.05)
    found = slices(scores(wrong), {"one": one, "two": two})
    assert found[0].where == {"one": "x", "two": "u"}
    assert all(len(part.where) == 1 for part in slices(scores(wrong), {"one": one, "two": two}, pairs=False))


def test_chance_is_not_reported_more_often_than_promised() -> None:
    reported = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        metadata = {name: draw.choice(8, 300).tolist() for name in "abcd"}
        reported += bool(slices(scores(draw.random(300) < 0.1), metadata))
    # At most 5 % on average; 12 of 100 are more than that with a probability of .004.
    assert reported <= 12


def test_losses_of_a_regression() -> None:
    draw = np.random.default_rng(0)
    kind = draw.choice(["wet", "dry"], 400)
    loss = draw.exponential(1.0, 400) * np.where(kind == "wet", 3, 1)
    (worse, better) = slices(scores(np.zeros(400, dtype=bool), loss, "regression"), {"kind": kind.tolist()})
    assert worse.where == {"kind": "wet"} and worse.error.value == pytest.approx(
        np.median(loss[kind == "wet"]), rel=1e-4
    )
    assert better.where == {"kind": "dry"} and not better.is_worse


def test_numbers_are_cut_and_what_is_missing_is_a_group() -> None:
    draw = np.random.default_rng(0)
    age = draw.uniform(0, 100, 800)
    wrong = draw.random(800) < np.where(age > 75, 0.4, 0.02)
    values: list[float | None] = [None if draw.random() < 0.2 else value for value in age.tolist()]
    found = slices(scores(wrong), {"age": values})
    assert found[0].is_worse and found[0].where["age"].endswith("]")


def test_a_column_of_another_length() -> None:
    with pytest.raises(MistakesError, match="'site' has 3 values for 5 examples"):
        slices(scores(np.zeros(5, dtype=bool)), {"site": [1, 2, 3]})


def test_columns_that_tell_nothing() -> None:
    wrong = np.arange(100) < 20
    assert slices(scores(wrong), {"same": [1] * 100, "each its own": [f"{n}" for n in range(100)]}) == ()
    assert slices(scores(wrong), {}) == ()


def test_the_finding_is_never_more_than_worth_knowing() -> None:
    wrong, metadata = planted()
    mistakes = Mistakes(scores(wrong), slices=slices(scores(wrong), metadata))
    (finding,) = [finding for finding in mistakes.findings if finding.code == "weak-slice"]
    assert finding.severity.value == "info" and "site = c" in finding.message
    assert "site = c" in str(mistakes)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_textbook_procedure(p: list[float]) -> None:
    corrected = _holm(p)
    for alpha in (0.01, 0.05, 0.2):
        rejected: set[int] = set()
        for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if (len(p) - rank) * p[index] > alpha:
                break
            rejected.add(index)
        assert {index for index, value in enumerate(corrected) if value <= alpha} == rejected


def test_one_huge_loss_makes_no_group_worse() -> None:
    draw = np.random.default_rng(0)
    kind, loss = draw.choice(["wet", "dry"], 400), draw.exponential(1.0, 400)
    loss[7] = 1e6
    assert slices(scores(np.zeros(400, dtype=bool), loss, "regression"), {"kind": kind.tolist()}) == ()
    loss *= np.where(kind == kind[7], 1 / 3, 1)  # the group that has it is the better one
    found = slices(scores(np.zeros(400, dtype=bool), loss, "regression"), {"kind": kind.tolist()})
    assert len(found) == 2 and all(part.is_worse == (part.where["kind"] != kind[7]) for part in found)
    assert all(part.error.low <= part.error.value <= part.error.high < 10 for part in found)
