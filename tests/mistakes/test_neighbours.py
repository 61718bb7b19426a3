"""Neighbours with other labels, beside an obvious twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diagnose.mistakes import Scores
from diagnose.mistakes._neighbours import neighbourhoods

F = np.float32


def scores(embeddings: np.ndarray, labels: np.ndarray) -> Scores:
    size = len(labels)
    return Scores(
        task="classification",
        ids=tuple(f"e{row}" for row in range(size)),
        loss=np.zeros(size, dtype=F),
        given=labels,
        predicted=labels,
        confidence=np.ones(size, dtype=F),
        margin=np.ones(size, dtype=F),
        embeddings=embeddings.astype(F),
    )


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(120) % 3
    return 4 * np.eye(3, 8)[labels] + 0.3 * draw.standard_normal((120, 8)), labels


def test_a_wrong_label_among_others_comes_first() -> None:
    embeddings, labels = clusters()
    labels[7] = (labels[7] + 1) % 3
    found = neighbourhoods(scores(embeddings, labels), k=5)
    assert found[0].id == "e7" and found[0].dissent == 1 and found[0].other_distance < (found[0].same_distance or 0)


def test_numbers_are_those_of_an_obvious_computation() -> None:
    draw = np.random.default_rng(3)
    embeddings, labels = draw.standard_normal((40, 4)), draw.integers(0, 2, 40)
    for part in neighbourhoods(scores(embeddings, labels), k=40):
        lengths = np.linalg.norm(embeddings, axis=1)
        distance = 1 - embeddings @ embeddings[part.row] / lengths / lengths[part.row]
        distance[part.row] = np.inf
        nearest = np.argsort(distance)[:10]
        assert part.dissent == np.mean(labels[nearest] != labels[part.row])
        other = np.flatnonzero(labels != labels[part.row])
        assert part.other == f"e{other[distance[other].argmin()]}"


def test_where_there_is_nothing_to_compare() -> None:
    embeddings, labels = clusters()
    assert neighbourhoods(scores(embeddings, labels * 0), k=5) == ()
    assert neighbourhoods(scores(embeddings[:5], labels[:5]), k=5) == ()
    assert neighbourhoods(replace(scores(embeddings, labels), embeddings=None), k=5) == ()


def test_the_only_one_of_its_class() -> None:
    embeddings, labels = clusters()
    labels[4] = 9
    found = neighbourhoods(scores(embeddings, labels), k=3)
    assert found[0].id == "e4" and found[0].same is None and found[0].to_json()["same_distance"] is None
