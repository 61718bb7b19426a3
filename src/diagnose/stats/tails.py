"""How likely a difference of two samples is by chance: of shares, and of ranks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def fisher_exact(successes: int, trials: int, other_successes: int, other_trials: int) -> float:
    """The two-sided p-value of Fisher's exact test that two shares are the same.

    Raises:
        ValueError: successes are not within 0 and the trials.

    Source:
        Fisher, "Statistical Methods for Research Workers", 1934; two-sided as in R and SciPy: the probability of all
        tables that are no more likely than this one.
    """
    if not (0 <= successes <= trials and 0 <= other_successes <= other_trials):
        raise ValueError(f"{successes} of {trials} and {other_successes} of {other_trials} are no shares")
    total, all_successes = trials + other_trials, successes + other_successes
    lowest, highest = max(0, all_successes - other_trials), min(trials, all_successes)
    counts = np.arange(lowest, highest + 1)
    logs = _log_choose(trials, counts) + _log_choose(other_trials, all_successes - counts)
    logs -= _log_choose(total, np.array([all_successes]))
    # Rounding must not tell apart tables that are equally likely.
    as_unlikely = logs <= logs[successes - lowest] + 1e-7
    return float(min(1.0, np.exp(logs[as_unlikely]).sum()))


def rank_sum(sample: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The two-sided p-value of the Wilcoxon-Mann-Whitney test, by its normal approximation with ties and continuity.

    1.0 if a sample is empty or all values are the same.

    Source:
        Mann & Whitney, "On a test of whether one of two random variables is stochastically larger than the other",
        1947; Hollander, Wolfe & Chicken, "Nonparametric Statistical Methods", section 4.1 (ties).
    """
    n, m = len(sample), len(other)
    if not n or not m:
        return 1.0
    _, inverse, counts = np.unique(np.concatenate([sample, other]), return_inverse=True, return_counts=True)
    # Mean rank of each group of ties, from 1.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    u = ranks[:n].sum() - n * (n + 1) / 2
    size = n + m
    ties = float((counts.astype(np.float64) ** 3 - counts).sum())
    variance = n * m / 12 * ((size + 1) - ties / (size * (size - 1)))
    if variance <= 0:
        return 1.0
    z = max(abs(u - n * m / 2) - 0.5, 0.0) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def _log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))]) if n else np.zeros(1)
    found: NDArray[np.float64] = factorials[n] - factorials[k] - factorials[n - k]
    return found
