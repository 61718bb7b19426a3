"""Tracked examples: stored and read back without trust, made into scores, and put into words."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.cli import main
from diagnose.errors import MistakesError, RunDirectoryError
from diagnose.mistakes import TrackedExamples, scores_of
from diagnose.report import build_report
from diagnose.rules import Diagnosis
from diagnose.sinks.terminal import print_report
from diagnose.storage import RunDirectory, load


def tracked(count: int = 6, **changes: Any) -> TrackedExamples:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "ids": np.arange(count),
        "hashes": None,
        "names": (),
        "size": count,
        "times": np.full(count, 4),
        "margin": rng.uniform(-1, 1, count).astype(np.float32),
        "margin_all": rng.uniform(-1, 1, count).astype(np.float32),
        "given": rng.integers(0, 3, count),
        "predicted": rng.integers(0, 3, count),
        "loss": rng.exponential(size=count).astype(np.float32),
        "window": "validation",
        "until": 3.0,
        "passes": 4.0,
        "changed": 0,
        "classes": 3,
    }
    return TrackedExamples(**{**fields, **changes})


def noisy() -> TrackedExamples:
    """A tenth of 3,000 labels is wrong."""
    rng = np.random.default_rng(1)
    right = 1 - rng.exponential(0.2, size=2700)
    wrong = rng.normal(-0.6, 0.15, size=300)
    margin = np.clip(np.concatenate([right, wrong]), -1, 1).astype(np.float32)
    return tracked(3000, margin=margin)


@pytest.mark.parametrize("names", [(), tuple(f"ä/{row}.png" for row in range(6))])
@pytest.mark.parametrize("hashed", [False, True])
def test_stored_and_read_back(tmp_path: Path, names: tuple[str, ...], hashed: bool) -> None:
    before = tracked(names=names, hashes=np.arange(6) * 7 if hashed else None, reason="why")
    before.save(RunDirectory.create(tmp_path))
    after = TrackedExamples.load(tmp_path)
    for name, value in vars(before).items():
        assert np.array_equal(getattr(after, name), value), name
    assert scores_of(tmp_path).ids == tuple(range(6))


def test_an_earlier_run_is_not_taken_for_this_one(tmp_path: Path) -> None:
    tracked().save(RunDirectory.create(tmp_path))
    RunDirectory.create(tmp_path)
    with pytest.raises(RunDirectoryError, match="--track-examples"):
        TrackedExamples.load(tmp_path)


def rewritten(file: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    members[f"{name}.npy"] = content
    with zipfile.ZipFile(file, "w") as archive:
        for each, data in members.items():
            archive.writestr(each, data)


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("margin", np.array([print], dtype=object)),
        ("margin", np.zeros(3, dtype=np.float32)),
        ("margin", np.zeros((6, 1), dtype=np.float32)),
        ("times", np.zeros(6, dtype=np.int64)),
        ("about", np.frombuffer(b'{"format": "torch-diagnose run", "version": 1}', dtype=np.uint8)),
        ("about", np.frombuffer(b"[1]", dtype=np.uint8)),
        ("about", np.frombuffer(b"\xff", dtype=np.uint8)),
    ],
)
def test_what_a_stranger_wrote_is_refused(tmp_path: Path, name: str, array: Any) -> None:
    tracked().save(RunDirectory.create(tmp_path))
    rewritten(tmp_path / "examples.npz", name, npy(array))
    with pytest.raises(RunDirectoryError, match=r"examples\.npz: not examples"):
        TrackedExamples.load(tmp_path)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    tracked().save(RunDirectory.create(tmp_path))
    file = tmp_path / "examples.npz"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(RunDirectoryError, match="damaged"):
        TrackedExamples.load(file)


def test_tiers_are_those_of_the_margins() -> None:
    examples = noisy()
    found = examples.assessment
    assert found.holds() and found.limit is not None
    mistakes = examples.mistakes(k=3000)
    tiers = [entry.tier for entry in mistakes.suspects]
    assert tiers.count("very-likely") + tiers.count("suspect") == found.suspects
    summary = examples.summary()
    assert summary["very_likely"] + summary["suspect"] == found.suspects
    assert json.loads(json.dumps(summary)) == summary
    assert "are very likely wrong" in summary["text"] and summary["text"] in str(mistakes)


def test_where_nothing_can_be_told_that_is_said() -> None:
    rng = np.random.default_rng(2)
    examples = tracked(2000, margin=np.clip(1 - rng.exponential(0.5, size=2000), -1, 1).astype(np.float32))
    assert "cannot be told from hard examples" in examples.summary()["text"]
    mistakes = examples.mistakes()
    assert {entry.tier for entry in mistakes.suspects} <= {"look"}
    assert not [finding for finding in mistakes.findings if finding.code == "suspect-labels"]


def test_file_names_and_examples() -> None:
    examples = tracked(names=tuple(f"{row}.png" for row in range(6)))
    mistakes = examples.mistakes([f"image {row}" for row in range(6)])
    assert mistakes.file(4) == "4.png" and mistakes.example(4) == "image 4"


def test_wrong_use_is_told() -> None:
    with pytest.raises(MistakesError, match="k is 0"):
        tracked().mistakes(k=0)
    with pytest.raises(MistakesError, match="7 examples, the one that was trained on had 6"):
        tracked().mistakes(list(range(7)))
    with pytest.raises(MistakesError, match="No training example"):
        tracked(0).mistakes()


def test_the_report_and_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(200, 5)
    data = TensorDataset(inputs, (inputs[:, 0] > 0).long())
    model = nn.Linear(5, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(track_examples=True, run_dir=tmp_path, summary=False) as watch:
        for _ in range(3):
            for x, y in DataLoader(data, batch_size=20, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
    tracked_in = watch.report().to_json()["run"]["tracked"]
    assert tracked_in["examples"] == 200 and tracked_in["passes"] == 3
    history, _ = load(tmp_path)
    stream = io.StringIO()
    print_report(build_report(history, Diagnosis((), {})), stream)
    assert "labels    200 training examples" in stream.getvalue()
    assert main(["mistakes", str(tmp_path), "--classes", "no,yes", "--out", str(tmp_path / "out")]) == 0
    assert "200 examples, classification" in capsys.readouterr().out
    assert (tmp_path / "out" / "mistakes.json").exists()
    assert main(["mistakes", str(tmp_path / "out")]) == 2
    assert "--track-examples" in capsys.readouterr().err
