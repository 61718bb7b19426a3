"""label-noise: on real digits and cells, on healthy tasks that are hard, and at its edges."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits
from torch import Tensor, nn

import diagnose
from diagnose.findings import Finding, Severity
from diagnose.history import DissentFacts, History, ObjectiveFacts, PairFacts
from diagnose.rules._base import NotRun
from diagnose.rules.data.label_noise import label_noise

Change = Callable[[Tensor], Tensor]


def flipped(share: float, classes: int) -> Change:
    def flip(labels: Tensor) -> Tensor:
        wrong = torch.rand(len(labels)) < share
        return torch.where(wrong, (labels + torch.randint(1, classes, (len(labels),))) % classes, labels)

    return flip


def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)


def cells() -> tuple[Tensor, Tensor]:
    data = load_breast_cancer()
    return torch.tensor((data.data - data.data.mean(0)) / data.data.std(0), dtype=torch.float32), torch.tensor(
        data.target
    )


def overlapping() -> tuple[Tensor, Tensor]:
    labels = torch.randint(0, 5, (2000,))
    return torch.randn(2000, 8) + 1.8 * torch.eye(5, 8)[labels], labels


def hardly_known() -> tuple[Tensor, Tensor]:
    x = torch.randn(2000, 8)
    return x, torch.bernoulli((0.5 * x @ torch.randn(8)).sigmoid()).long()


def mostly_of_one_class() -> tuple[Tensor, Tensor]:
    return torch.randn(2000, 8), torch.bernoulli(torch.full((2000,), 0.2)).long()


def train(
    data: Callable[[], tuple[Tensor, Tensor]],
    once: Change = lambda y: y,
    each: Change = lambda y: y,
    epochs: int = 12,
) -> list[Finding]:
    torch.manual_seed(0)
    x, y = data()
    y = once(y)
    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, int(y.max()) + 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), each(y[rows])).backward()
                optimizer.step()
    assert not watch.history.count("collector-failed"), list(watch.history.events("collector-failed"))
    found = [finding for finding in watch.findings if finding.code == "label-noise"]
    assert not (found and any(finding.code == "labels-misaligned" for finding in watch.findings))
    return found


@pytest.mark.parametrize(("data", "classes", "share"), [(digits, 10, 0.2), (digits, 10, 0.4), (cells, 2, 0.2)])
def test_flipped_labels(data: Callable[[], tuple[Tensor, Tensor]], classes: int, share: float) -> None:
    (finding,) = train(data, flipped(share, classes))
    assert finding.severity is Severity.WARNING
    assert finding.where.file == __file__
    assert finding.evidence["wrong_share_low"] - 0.03 <= share <= finding.evidence["wrong_share_high"] + 0.03  # type: ignore[operator]


@pytest.mark.parametrize("data", [digits, cells, overlapping, hardly_known, mostly_of_one_class])
def test_labels_as_they_are(data: Callable[[], tuple[Tensor, Tensor]]) -> None:
    assert train(data) == []


def test_labels_that_are_drawn_anew_are_a_remark() -> None:
    (finding,) = train(digits, each=flipped(0.25, 10))
    assert finding.severity is Severity.INFO


def facts(**changes: Any) -> DissentFacts:
    usual: dict[str, Any] = {
        "optimizer": "SGD",
        "file": "train.py",
        "line": 7,
        "classes": 10,
        "agreement": 0.95,
        "rows": 400,
        "dissent": 80,
        "sure": 200,
        "sure_dissent": 40,
        "rank": 0.5,
        "rank_error": 0.036,
        "second": 0.15,
        "regions": [(3, 40, 30, 5, 29), (4, 40, 8, 1, 2)],
    }
    return DissentFacts(**(usual | changes))


def history_of(found: DissentFacts, **changes: Any) -> History:
    history = History()
    history.dissents["loss"] = found
    for name, value in changes.items():
        getattr(history, name)["it"] = value
    return history


def test_what_is_said() -> None:
    (finding,) = label_noise(history_of(facts()))
    assert "some 20% of the labels (16% to 24%) are wrong" in finding.message
    assert "above all those of class 3 (labelled 5 in 29 of 40)" in finding.message
    assert (finding.where.file, finding.where.line) == ("train.py", 7)


def test_without_anything_to_judge() -> None:
    with pytest.raises(NotRun):
        list(label_noise(History()))


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 149, "dissent": 30},
        {"dissent": 201},
        {"sure": 0, "sure_dissent": 0},
        {"sure_dissent": 16},  # 8 %, of which the interval begins at 5 %
        {"rank": 0.6},
        {"rank": 1.0, "rank_error": 0.0},
        {"agreement": 0.64},
        {"agreement": 0.74, "classes": 3},
        {"agreement": 0.74, "second": 0.6},
    ],
)
def test_silent_where_overlap_may_be_the_reason(changes: dict[str, Any]) -> None:
    assert list(label_noise(history_of(facts(**changes)))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 150, "dissent": 30},
        {"dissent": 200},
        {"rank": 0.59},
        {"agreement": 0.75, "classes": 2, "second": 1.0},
        {"agreement": 0.65},
    ],
)
def test_just_beyond_the_thresholds(changes: dict[str, Any]) -> None:
    (finding,) = label_noise(history_of(facts(**changes)))
    assert finding.severity is Severity.WARNING


def test_weighted_losses_are_left_alone() -> None:
    weighted = ObjectiveFacts("cross_entropy", "train.py", 7, reduction="none")
    assert list(label_noise(history_of(facts(), objectives=weighted))) == []


@pytest.mark.parametrize(
    ("again", "agreed", "severity"),
    [(50, 47, Severity.INFO), (100, 95, Severity.WARNING), (49, 0, Severity.WARNING)],
)
def test_labels_that_change(again: int, agreed: int, severity: Severity) -> None:
    (finding,) = label_noise(history_of(facts(), pairs=PairFacts(optimizer="SGD", again=again, agreed=agreed)))
    assert finding.severity is severity


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0, 1), st.floats(0, 1), st.integers(2, 30))
def test_the_history_is_not_changed_and_the_share_lies_in_its_interval(
    rows: int, dissent: int, rank: float, agreement: float, classes: int
) -> None:
    history = history_of(
        facts(rows=rows, dissent=min(rows, dissent), rank=rank, agreement=agreement, classes=classes, regions=[])
    )
    before = copy.deepcopy(history.dissents)
    for finding in label_noise(history):
        low, share, high = (finding.evidence[f"wrong_share{end}"] for end in ("_low", "", "_high"))
        assert np.all(np.diff([low, share, high]) >= 0)  # type: ignore[list-item]
    assert history.dissents == before
