"""Dissent: votes of neighbours, the time of one mind, and whether being sure tells of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.stats.dissent import Ints, agreement, dissent, times_of_one_mind, vote


def two_groups(rows: int = 60, seed: int = 0) -> tuple[np.ndarray, Ints]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    return rng.normal(size=(rows, 3)) + 20 * labels[:, None], labels


def test_neighbours_vote_for_their_group_whatever_the_own_label() -> None:
    features, labels = two_groups()
    wrong = labels.copy()
    wrong[0] = 1 - wrong[0]
    said = vote(features, wrong)
    assert said.winner.tolist() == labels.tolist()
    assert said.share[0] == 1.0


def test_equal_rows_have_one_vote_and_none_about_themselves() -> None:
    features, labels = two_groups(40)
    again = np.concatenate([features, features[:1]] * 2)
    others = np.concatenate([labels, 1 - labels[:1]] * 2)
    said = vote(again, others)
    assert said.winner[: len(labels)].tolist() == vote(features, labels).winner.tolist()
    assert said.winner[len(labels)] == labels[0]


@pytest.mark.parametrize("features", [np.ones((5, 2)), np.zeros((5, 0)), np.ones((1, 2))])
def test_where_there_is_nobody_to_ask(features: np.ndarray) -> None:
    said = vote(features, np.zeros(len(features), dtype=np.int64))
    assert (said.winner == -1).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 25), st.integers(2, 40), st.integers(0, 1000))
def test_votes_are_those_of_an_obvious_count(voters: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(rows, 4)), rng.integers(0, 3, rows)
    said = vote(features, labels, voters=voters)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    for row in range(rows):
        order = [other for other in np.argsort(((scaled - scaled[row]) ** 2).sum(axis=1)) if other != row][:voters]
        counts = np.bincount(labels[order], minlength=3)
        assert counts[said.winner[row]] == counts.max()
        assert said.share[row] == pytest.approx(counts.max() / len(order))


def test_dissent_anywhere_and_dissent_where_nobody_is_sure() -> None:
    rng = np.random.default_rng(0)
    expected, sureness = rng.integers(0, 4, 4000), rng.random(4000)
    second = (expected + 1) % 4

    def judged(wrong: np.ndarray) -> float:
        labels = np.where(wrong, (expected + rng.integers(1, 4, 4000)) % 4, expected)
        found = dissent(expected, labels, second, sureness, sureness)
        assert (found.rows, found.dissent) == (4000, int(wrong.sum()))
        assert found.second == pytest.approx(1 / 3, abs=0.06)
        assert abs(found.sure - 2000) <= 2  # half of each class
        return found.rank

    assert judged(rng.random(4000) < 0.2) == pytest.approx(0.5, abs=0.03)
    assert judged(rng.random(4000) < 0.4 * (1 - sureness)) > 0.6


@pytest.mark.parametrize("labels", [[0, 0, 1], [1, 1, 0]])
def test_where_none_or_all_dissent_nothing_is_said(labels: list[int]) -> None:
    found = dissent(np.array([0, 0, 1]), np.array(labels), np.array([1, 1, 0]), np.ones(3), np.ones(3))
    assert (found.rank, found.rank_error) == (1.0, 0.0)
    assert dissent(*(np.zeros(0, dtype=np.int64),) * 3, np.zeros(0), np.zeros(0)).rows == 0


def test_the_time_of_one_mind_ends_where_it_learns_by_heart() -> None:
    shares = [0.2, 0.8, 0.9, 0.88, 0.8]
    agree = np.concatenate([np.arange(256) < share * 256 for share in shares])
    times = times_of_one_mind(agree)
    assert times.asked.reshape(5, 256).all(axis=1).tolist() == [False, True, True, True, False]
    assert times.best.reshape(5, 256).all(axis=1).tolist() == [False, False, True, True, False]
    assert times_of_one_mind(np.ones(3, dtype=np.bool_)).asked.all()


def test_agreement_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 3, 5000), rng.integers(0, 3, 5000)
    assert agreement(first, second) == pytest.approx(0.0, abs=0.04)
    assert agreement(first, first) == 1.0
    assert agreement(np.zeros(9, dtype=np.int64), np.zeros(9, dtype=np.int64)) == 0.0
    mostly = np.where(rng.random(5000) < 0.95, 0, first)
    assert agreement(mostly, np.where(rng.random(5000) < 0.95, 0, second)) == pytest.approx(0.0, abs=0.05)
