"""Training code that was not written for us: Lightning's and Transformers' trainers, the same to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TRAINERS = Path(__file__).with_name("trainers")


@pytest.mark.parametrize("trainer", ["lightning", "transformers"])
def test_a_trainer_trains_as_without_us(trainer: str, tmp_path: Path) -> None:
    if find_spec(trainer) is None:  # not imported here: Lightning patches torch
        pytest.skip(f"needs {trainer}, an optional extra: pip install 'torch-diagnose[integrations]'")
    script = str(TRAINERS / f"{trainer}_run.py")

    def run(*command: str) -> str:
        child = subprocess.run(
            [sys.executable, *command, script], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=True
        )
        return child.stdout

    watched = run("-m", "diagnose", "run", "--no-tensorboard", "--json", "report.json")
    assert watched.splitlines()[-1] == run().splitlines()[-1]
    report = json.loads((tmp_path / "report.json").read_text())
    assert [f["code"] for f in report["findings"] if f["severity"] != "info"] == []
    assert report["run"]["failed"] == {}
    assert report["run"]["steps"] > 50
