"""Checks about files that are no code: README, CHANGELOG, CI."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.tree import ROOT, project_files, pyproject

# A folder of one machine. Not preceded by a letter or a dot: `docs/home/x` and URLs are no such thing.
LOCAL_PATH = re.compile(r"(?<![\w.~}*-])/(home|Users|root|work|workspace|opt|mnt)/\w|\b[A-Z]:\\Users")


def command(name: str) -> str:
    """The command in the README's code block that follows the comment `<!-- command: NAME -->`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"<!-- command: {name} -->\n```sh\n(.*?)\n```", readme, flags=re.DOTALL)
    assert len(found) == 1, f"the README has {len(found)} commands named {name!r}"
    return found[0]


def local_paths(text: str) -> list[str]:
    return [f"line {text.count(chr(10), 0, m.start()) + 1}: {m.group()}" for m in LOCAL_PATH.finditer(text)]


def test_no_file_mentions_a_folder_of_one_machine() -> None:
    found = {}
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if lines := local_paths(text):
            found[str(path.relative_to(ROOT))] = lines
    assert found == {}


@pytest.mark.parametrize("folder", ["home", "root", "work", "opt"])
def test_the_check_sees_a_local_path(folder: str) -> None:
    assert local_paths(f"see\n/{folder}/me/x") == [f"line 2: /{folder}/m"]
    assert local_paths(f"see ./docs/{folder}/me and https://example.org/{folder}/me") == []


@pytest.mark.parametrize("name", ["try", "test"])
def test_ci_runs_the_commands_of_the_readme(name: str) -> None:
    assert command(name) in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_ci_is_an_executable_script() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_every_tool_that_is_run_is_pinned() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([\w-]+)==", constraints, re.MULTILINE))
    project = pyproject()["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {re.split(r"[^\w-]", requirement)[0] for group in groups for requirement in group}
    assert wanted - pinned - {"torch-diagnose"} == set()


def test_the_changelog_tells_of_the_current_version() -> None:
    version = pyproject()["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(version)}\]", changelog, re.MULTILINE)


def test_relative_links_in_the_docs_lead_somewhere() -> None:
    broken = []
    for page in [path for path in project_files() if path.suffix == ".md"]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not Path(page.parent, target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []
