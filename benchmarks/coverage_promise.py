"""How often a promised accuracy is kept, and what the promise costs in coverage, beside other ways to choose.

    python benchmarks/coverage_promise.py                  five minutes on one core
    python benchmarks/coverage_promise.py --runs 200       a minute or two

A threshold is chosen on a sample so that its answers are right 98 % of the time (95 % confidence), and judged by the
true accuracy from there on, which is known. `here` is `metrics.coverage_at_accuracy`; `naive`, the lowest threshold at
which the sample reaches the accuracy; `wilson`, the same with the lower end of Wilson's interval (one-sided 95 %) in
place of the share, as though the threshold had been fixed before; `bonferroni`, an exact test at each of 100 coverages,
each at a hundredth of the risk (Geifman & El-Yaniv, 2017, with a grid in place of bisection); `split`, the naive
threshold on one half, raised until an exact test passes on the other half, ten tries at a tenth of the risk each.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from diagnose import metrics
from diagnose.stats.intervals import binomial_cdf, z_of

WANTED, CONFIDENCE = 0.98, 0.95
MODELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rises": lambda c: 1 - 0.15 * (1 - c) ** 1.5,
    "a step": lambda c: np.where(c > 0.35, 0.995, 0.8),
    "right enough": lambda c: np.full_like(c, 0.99),
    "just not": lambda c: np.full_like(c, 0.979),
    "never quite": lambda c: np.full_like(c, 0.97),
    "wrong at the top": lambda c: np.where(c > 0.95, 0.96, np.where(c > 0.5, 0.995, 0.85)),
    "two dips": lambda c: np.where((c > 0.9) | ((c > 0.5) & (c < 0.6)), 0.95, 0.992),
    "falls": lambda c: 0.93 + 0.07 * (1 - c),
}


def passes(right: int, answered: int, risk: float) -> bool:
    return float(binomial_cdf(answered, 1 - WANTED, answered - right)[-1]) <= risk


def naive(sure: np.ndarray, right: np.ndarray) -> int:
    good = np.cumsum(right)
    enough = np.flatnonzero(good >= WANTED * np.arange(1, len(good) + 1))
    return int(enough[-1]) + 1 if len(enough) else 0


def wilson(sure: np.ndarray, right: np.ndarray) -> int:
    z, number = z_of(2 * CONFIDENCE - 1), np.arange(1, len(right) + 1)
    share = np.cumsum(right) / number
    low = (share + z**2 / (2 * number)) - z * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    enough = np.flatnonzero(low / (1 + z**2 / number) >= WANTED)
    return int(enough[-1]) + 1 if len(enough) else 0


def bonferroni(sure: np.ndarray, right: np.ndarray) -> int:
    good = np.cumsum(right)
    tried = np.unique(np.linspace(len(right) / 100, len(right), 100).astype(int))
    kept = [k for k in tried.tolist() if k and passes(int(good[k - 1]), k, (1 - CONFIDENCE) / 100)]
    return max(kept, default=0)


def split(sure: np.ndarray, right: np.ndarray) -> int:
    """The number of the whole sample that is answered; halves are drawn by position, which is not in order of data."""
    first = np.random.default_rng(0).permutation(len(sure)) % 2 == 0
    answered = naive(sure[first], right[first])
    for _ in range(10):
        if not answered:
            return 0
        threshold = sure[first][answered - 1]
        there = sure[~first] >= threshold
        if there.any() and passes(int(right[~first][there].sum()), int(there.sum()), (1 - CONFIDENCE) / 10):
            return int((sure >= threshold).sum())
        answered = int(answered * 0.9)
    return 0


def here(sure: np.ndarray, right: np.ndarray) -> int:
    found = metrics.coverage_at_accuracy(sure, correct=right, accuracy=WANTED, confidence=CONFIDENCE)
    return int((sure >= found.threshold).sum())


WAYS = (here, naive, wilson, bonferroni, split)


def measured(model: Callable[[np.ndarray], np.ndarray], count: int, runs: int) -> dict[str, tuple[float, float]]:
    """Of each way, the share of the promises that are kept, and the mean coverage."""
    draw = np.random.default_rng(0)
    grid = (np.arange(200_000) + 0.5) / 200_000
    above = np.cumsum(model(grid)[::-1])[::-1] / np.arange(200_000, 0, -1)
    kept = dict.fromkeys((way.__name__ for way in WAYS), 0)
    covered = dict.fromkeys(kept, 0.0)
    for _ in range(runs):
        sure = np.sort(draw.random(count))[::-1]
        right = draw.random(count) < model(sure)
        for way in WAYS:
            answered = way(sure, right)
            threshold = sure[answered - 1] if answered else 1.0
            kept[way.__name__] += not answered or bool(above[int(threshold * 200_000)] >= WANTED - 1e-9)
            covered[way.__name__] += answered / count
    return {name: (kept[name] / runs, covered[name] / runs) for name in kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000, 10_000])
    args = parser.parse_args()
    error = math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / args.runs)
    print(f"kept / mean coverage; {args.runs} samples each, standard error of `kept` {error:.3f} where it is .95\n")
    print("| model | n | " + " | ".join(way.__name__ for way in WAYS) + " |")
    print("|---|---|" + "---|" * len(WAYS))
    for name, model in MODELS.items():
        for count in args.counts:
            cells = (f"{share:.3f} / {cover:.3f}" for share, cover in measured(model, count, args.runs).values())
            print(f"| {name} | {count} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
