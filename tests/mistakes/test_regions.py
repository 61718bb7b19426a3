"""Connected regions beside SciPy's, or beside a slow walk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from diagnose.mistakes._regions import _inner, connected


def walked(mask: np.ndarray) -> list[frozenset[tuple[int, ...]]]:
    """The connected sets of one image, by walking."""
    left, found = {tuple(place) for place in np.argwhere(mask).tolist()}, []
    while left:
        stack, region = [left.pop()], set()
        while stack:
            place = stack.pop()
            region.add(place)
            for axis in range(len(place)):
                for step in (-1, 1):
                    near = (*place[:axis], place[axis] + step, *place[axis + 1 :])
                    if near in left:
                        left.remove(near)
                        stack.append(near)
        found.append(frozenset(region))
    return found


@given(arrays(bool, array_shapes(min_dims=2, max_dims=4, max_side=7)))
def test_connected_is_what_a_walk_finds(mask: np.ndarray) -> None:
    labels = connected(mask)
    assert ((labels > 0) == mask).all()
    for image in range(len(mask)):
        numbers = set(np.unique(labels[image]).tolist()) - {0}
        found = {frozenset(map(tuple, np.argwhere(labels[image] == n).tolist())) for n in numbers}
        assert found == set(walked(mask[image]))
    per_image = [set(np.unique(part).tolist()) - {0} for part in labels]
    assert len(set().union(*per_image)) == sum(map(len, per_image)), "a region reaches over two images"


def test_a_long_snake_is_one_region() -> None:
    mask = np.ones((1, 61, 61), dtype=bool)
    mask[0, 1::4, :-1] = False
    mask[0, 3::4, 1:] = False
    assert connected(mask).max() == 1 and len(walked(mask[0])) == 1


@given(arrays(bool, st.tuples(st.just(1), st.integers(1, 8), st.integers(1, 8))))
def test_inner_pixels_have_wrong_neighbours_only(mask: np.ndarray) -> None:
    inner = _inner(mask)
    padded = np.pad(mask[0], 1, constant_values=True)
    for row, column in np.ndindex(mask.shape[1:]):
        around = [
            padded[row, column + 1],
            padded[row + 2, column + 1],
            padded[row + 1, column],
            padded[row + 1, column + 2],
        ]
        assert inner[0, row, column] == (mask[0, row, column] and all(around))


def test_as_scipy_has_it() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = np.random.default_rng(0).random((1, 200, 200)) < 0.55
    assert len(np.unique(connected(mask))) - 1 == ndimage.label(mask[0])[1]
