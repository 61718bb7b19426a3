"""docs/guides/test-your-training-code-in-ci.md: its workflow is one, and its command passes on its own files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diagnose import testing
from tests.plugin.conftest import PLUGIN
from tests.support.tree import ROOT

GUIDE = (ROOT / "docs" / "guides" / "test-your-training-code-in-ci.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def workflow() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def pytest_command() -> list[str]:
    (command,) = [
        step["run"]
        for step in workflow()["jobs"]["test"]["steps"]
        if "run" in step and step["run"].startswith("pytest ")
    ]
    return [sys.executable, "-m", *command.split()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the guide's files, each named in its first line."""
    for block in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", block)
        assert name, block
        (tmp_path / name[1]).write_text(block, encoding="utf-8")
    return tmp_path


def run(folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTEST_ADDOPTS": " ".join((*PLUGIN, "-p no:cacheprovider")),
        "PYTEST_XDIST_AUTO_NUM_WORKERS": "2",
        "OMP_NUM_THREADS": "1",
    }
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_XDIST_W")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_workflow_has_what_a_workflow_needs() -> None:
    loaded = workflow()
    assert loaded["permissions"] == {"contents": "read"}
    assert set(loaded[True]) == {"push", "pull_request"}, "YAML 1.1 reads `on` as true; GitHub does not"
    job = loaded["jobs"]["test"]
    assert job["runs-on"] and job["timeout-minutes"]
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "actions/checkout@v4"))
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)
    # The steps after the tests run when these have failed, and find the report where the tests leave it.
    after = [
        step for step in job["steps"] if "training-report" in json.dumps(step) and "pytest" not in json.dumps(step)
    ]
    assert len(after) == 2 and all(step["if"] == "${{ !cancelled() }}" for step in after)


@pytest.mark.slow
def test_the_command_of_the_workflow_passes_on_the_files_of_the_guide(project: Path) -> None:
    done = run(project, pytest_command())
    assert done.returncode == 0, done.stdout + done.stderr
    index = json.loads((project / "training-report" / "index.json").read_text())
    assert {row["test"].split("::")[0] for row in index["tests"]} == {"test_training.py"}
    assert not any(row["errors"] or row["warnings"] for row in index["tests"])
    assert (project / "training-report" / "index.md").is_file() and (
        project / "training-report" / "junit.xml"
    ).is_file()


@pytest.mark.slow
def test_the_failure_is_the_one_that_the_guide_shows(project: Path) -> None:
    source = (project / "training.py").read_text()
    assert source.count("            optimizer.zero_grad()\n") == 1
    (project / "training.py").write_text(source.replace("            optimizer.zero_grad()\n", ""))
    done = run(project, [sys.executable, "-m", "pytest", "test_training.py::test_training", "--tb=short"])
    assert done.returncode == 1, done.stdout + done.stderr
    said = [re.sub(r"^E\s*", "", line).strip() for line in done.stdout.splitlines()]
    (shown,) = blocks("text")
    for line in filter(None, map(str.strip, shown.splitlines())):
        assert any(line in other for other in said), f"{line}\n\nis not in\n\n{done.stdout}"


def test_the_table_names_every_assertion_of_ours_and_no_other() -> None:
    table = GUIDE[GUIDE.index("## Compared with others") :]
    ours = {name for row in table.splitlines() if row.startswith("| ") for name in _names(row.split(" | ")[1])}
    assert ours == set(testing.ASSERTIONS)


def _names(cell: str) -> list[str]:
    return re.findall(r"`(assert_\w+)", cell)
