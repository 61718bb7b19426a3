"""Labels that dissent from what their surroundings say: are they where classes overlap, or just anywhere?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagnose.stats.curves import Floats

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Vote(NamedTuple):
    """What the nearest neighbours of each row say.

    Attributes:
        winner: the class that most of them have, shape (N,); -1 where there is nobody to ask.
        share: the share of them that have it.
    """

    winner: Ints
    share: Floats


class Dissent(NamedTuple):
    """How labels dissent among the rows about which the neighbours and the network are of one mind.

    Attributes:
        rows, dissent: such rows, and those with another label than the one both expect.
        sure, sure_dissent: the same of the half, within each class, of which both are surer.
        rank: probability that both are surer of a row that agrees than of one that dissents (the area under the ROC
            curve); 0.5 if dissent is anywhere, more if it is where classes overlap. 1 if none or all dissent.
        rank_error: its standard error if it is 0.5.
        second: share of the dissenting labels that were the network's second guess.
    """

    rows: int
    dissent: int
    sure: int
    sure_dissent: int
    rank: float
    rank_error: float
    second: float


def vote(features: NDArray[np.floating], labels: Ints, *, voters: int = 10, alike: bool = False) -> Vote:
    """What the `voters` nearest other rows say about each row; its own label has no say.

    Distances are Euclidean, each column first brought to unit variance, unless columns are `alike`. Equal rows are one
    example met several times: it votes once, with the label of its first time, and never about itself. Among classes
    with as many votes the nearer one wins.

    Args:
        features: shape (N, D), finite.
        labels: shape (N,), from 0.
    """
    rows = len(features)
    known = np.asarray(features, dtype=np.float32)
    spread = known.std(axis=0)
    known = ((known - known.mean(axis=0)) / np.where((spread > 0) & (not alike), spread, 1.0))[:, spread > 0]
    first = np.unique(known, axis=0, return_index=True)[1] if known.shape[1] else np.zeros(0, dtype=np.int64)
    if len(first) < 2:
        return Vote(np.full(rows, -1, dtype=np.int64), np.zeros(rows))
    voters = min(voters, len(first) - 1)
    squares = (known**2).sum(axis=1)
    distances = squares[:, None] + squares[first][None, :] - 2 * known @ known[first].T
    distances[distances <= 1e-5 * (float(squares.mean()) + squares[:, None])] = np.inf
    nearest = np.argpartition(distances, voters - 1, axis=1)[:, :voters]
    nearest = np.take_along_axis(nearest, np.take_along_axis(distances, nearest, axis=1).argsort(axis=1), axis=1)
    theirs = labels[first][nearest]
    weights = 1.0 + 1e-3 * np.arange(voters, 0, -1) / voters**2  # all of them together are less than one vote
    counts = np.zeros((rows, int(labels.max()) + 1))
    np.add.at(counts, (np.arange(rows)[:, None], theirs), weights[None, :])
    return Vote(counts.argmax(axis=1).astype(np.int64), np.floor(counts.max(axis=1)) / voters)


class Times(NamedTuple):
    """Which rows were met while the network had learned something and not yet learned by heart.

    Attributes:
        asked: whether a row was, shape (N,).
        best: whether it was met when network and neighbours agreed most, or nearly so.
    """

    asked: Flags
    best: Flags


def times_of_one_mind(agree: Flags, *, part: int = 256, nearly: float = 0.07, before: float = 0.15) -> Times:
    """When network and neighbours agreed most: to within `nearly`, or earlier and to within `before`.

    After that time the network learns by heart, and takes wrong labels for right; before, it only knows less.

    Args:
        agree: shape (N,), in the order of time, which is cut into parts of at least `part` rows.
    """
    parts = np.array_split(np.arange(len(agree)), max(1, len(agree) // part))
    shares = np.array([agree[rows].mean() if len(rows) else 0.0 for rows in parts])
    asked, best = np.zeros(len(agree), dtype=np.bool_), np.zeros(len(agree), dtype=np.bool_)
    for number, (rows, share) in enumerate(zip(parts, shares, strict=True)):
        best[rows] = share >= shares.max() - nearly
        asked[rows] = share >= shares.max() - (before if number < shares.argmax() else nearly)
    return Times(asked, best)


def agreement(first: Ints, second: Ints) -> float:
    """How far two judges agree beyond chance: Cohen's kappa; 0 where both always say the same, for that tells nothing.

    Args:
        first, second: the class that each says, shape (N,), N > 0.

    Cohen, "A coefficient of agreement for nominal scales", 1960.
    """
    classes = np.unique(np.concatenate([first, second]))
    chance = sum(float((first == c).mean() * (second == c).mean()) for c in classes)
    share = float((first == second).mean())
    return (share - chance) / (1 - chance) if chance < 1 else 0.0


def dissent(expected: Ints, labels: Ints, second: Ints, votes: Floats, certainty: Floats) -> Dissent:
    """Counts of dissent, and whether it is where the surroundings are unsure.

    Args:
        expected: the class that both neighbours and network expect, shape (N,).
        second: the network's second guess.
        votes, certainty: how sure the neighbours are, and the network; only their ranks within a class count.
    """
    dissents = labels != expected
    surer = _rank_within(expected, _rank_within(expected, votes) + _rank_within(expected, certainty))
    sure = surer > 0.5
    many, few = int((~dissents).sum()), int(dissents.sum())
    rank, rank_error = 1.0, 0.0
    if many and few:
        ranks = _ranks(surer)
        rank = float((ranks[~dissents].sum() - many * (many + 1) / 2) / (many * few))
        rank_error = math.sqrt((many + few + 1) / (12 * many * few))
    return Dissent(
        rows=len(labels),
        dissent=few,
        sure=int(sure.sum()),
        sure_dissent=int(dissents[sure].sum()),
        rank=rank,
        rank_error=rank_error,
        second=float((second[dissents] == labels[dissents]).mean()) if few else 0.0,
    )


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: Floats = (last - (counts - 1) / 2)[inverse.reshape(-1)]
    return found


def _rank_within(groups: Ints, values: Floats) -> Floats:
    """For each value its rank within its group, between 0 and 1."""
    found = np.zeros(len(values))
    for group in np.unique(groups):
        members = groups == group
        found[members] = (_ranks(values[members]) - 0.5) / members.sum()
    return found
