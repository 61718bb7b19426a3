"""`[tool.diagnose]`: found where it should be, and every mistake is named with its place and its cure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose import config
from diagnose.acceptance import Suppression
from diagnose.config import Config, load_config
from diagnose.errors import ConfigError
from diagnose.rules import all_rules

RULE = '''
@rule("update-too-large")
def update_too_large(
    history, *, limit: float = 0.1, patience: int = 10, on: bool = True, kind: str = "a", free=None
):
    """Doc."""
'''


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rules, so that these tests do not depend on which ones exist."""
    folder = tmp_path / "rules" / "optimizer"
    folder.mkdir(parents=True)
    (folder / "update_too_large.py").write_text(RULE)
    (folder / "dead_units.py").write_text("raise AssertionError('reading the config imported a rule')")
    (folder / "_private.py").write_text("")
    monkeypatch.setattr(config, "RULES_FOLDER", tmp_path / "rules")


@pytest.fixture
def project(tmp_path: Path, rules: None) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def write(folder: Path, text: str, *, section: str = "[tool.diagnose]\n") -> Path:
    file = folder / "pyproject.toml"
    file.write_text(section + text)
    return file


def refuse(folder: Path, text: str, match: str, *, section: str = "[tool.diagnose]\n") -> None:
    file = write(folder, text, section=section)
    with pytest.raises(ConfigError, match=match) as caught:
        load_config(folder)
    assert str(caught.value).startswith(f"{file}: ")


# -- what is read -----------------------------------------------------------------------------------


def test_no_file_gives_the_defaults(project: Path) -> None:
    assert load_config(project) == Config()
    assert Config() == Config(budget=0.02, fail_on="never", tensorboard=True, schedule="budget")


def test_every_key(project: Path) -> None:
    write(
        project,
        """
        select = ["dead-units", "update-too-large"]
        ignore = ["rule-error"]
        budget = 1
        fail-on = "warning"
        run-dir = "runs/a"
        json = "/tmp/report.json"
        tensorboard = false
        live = true
        schedule = "seeded"
        verbose = true
        [tool.diagnose.rules.update-too-large]
        limit = 1
        patience = 3
        on = false
        kind = "b"
        free = [1]
        """,
    )
    assert load_config(project) == Config(
        select=("dead-units", "update-too-large"),
        ignore=("rule-error",),
        budget=1.0,
        fail_on="warning",
        run_dir=project / "runs/a",
        json=Path("/tmp/report.json"),
        tensorboard=False,
        live=True,
        schedule="seeded",
        verbose=True,
        rules={
            "update-too-large": {"limit": 1, "patience": 3, "on": False, "kind": "b", "free": [1]}  # type: ignore[dict-item]
        },
    )


def test_thresholds_are_kebab_case_like_all_keys(project: Path, tmp_path: Path) -> None:
    rule = tmp_path / "rules" / "loss_diverging.py"
    rule.write_text("def loss_diverging(history, *, min_rows: int = 3): ...")
    write(project, "[tool.diagnose.rules.loss-diverging]\nmin-rows = 5")
    assert load_config(project).rules == {"loss-diverging": {"min_rows": 5}}
    refuse(project, "[tool.diagnose.rules.loss-diverging]\nmin_rows = 5", 'Did you mean "min-rows"')


def test_the_nearest_file_with_a_section_counts(project: Path) -> None:
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    write(project, "budget = 0.5")
    write(inner, "", section="[tool.ruff]\n")
    assert load_config(inner).budget == 0.5
    assert load_config(inner / "train.py").budget == 0.5  # a file, which need not exist
    write(project / "a", "budget = 0.25")
    assert load_config(inner).budget == 0.25


def test_the_search_ends_at_the_top_of_a_repository(project: Path) -> None:
    inner = project / "repository" / "src"
    inner.mkdir(parents=True)
    (project / "repository" / ".git").mkdir()
    write(project, "budget = 0.5")
    assert load_config(inner) == Config()
    write(project / "repository", "budget = 0.25")
    assert load_config(inner).budget == 0.25


def test_a_relative_start(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "budget = 0.5")
    (project / "src").mkdir()
    monkeypatch.chdir(project / "src")
    assert load_config(Path()).budget == 0.5
    assert load_config(Path("train.py")).budget == 0.5


# -- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("budgett = 0.5", r'unknown key "budgett" \(= 0.5\). Did you mean "budget"\?'),
        ("fail_on = 'error'", r'unknown key "fail_on".* Did you mean "fail-on"\?'),
        ("zzz = 1", r'unknown key "zzz" \(= 1\).\nThe keys are: baseline, budget, fail-on, .*'),
        ("budget = 0", r"budget = 0: expected a number above 0 and at most 1"),
        ("budget = 1.01", r"budget = 1.01: expected"),
        ("budget = nan", r"budget = nan: expected"),
        ("budget = true", r"budget = True: expected"),
        ("budget = '0.1'", r"budget = '0.1': expected"),
        (
            "fail-on = 'errors'",
            r"""fail-on = 'errors': expected one of "error", .* Did you mean "error"\?""",
        ),
        ("fail-on = 3", r"fail-on = 3: expected one of"),
        ("schedule = 'evry'", r'Did you mean "every"\?'),
        ("live = 1", r"live = 1: expected true or false"),
        ("run-dir = ''", r"run-dir = '': expected a path in quotes"),
        ("json = true", r"json = True: expected a path in quotes"),
        ("select = 'dead-units'", r"select = 'dead-units': expected a list of codes"),
        ("ignore = [1]", r"ignore = \[1\]: expected a list of codes"),
        (
            "select = ['dead-unit']",
            r'select: there is no rule "dead-unit". Did you mean "dead-units"\?',
        ),
        ("ignore = ['qqqqqq']", r'there is no rule "qqqqqq". `diagnose rules` lists all.'),
        ("rules = 3", r"must be a table, got 3"),
        ("rules.dead-units = 3", r"dead-units = 3: write \[tool.diagnose.rules.dead-units\]"),
        ("rules.dead_units.a = 3", r'there is no rule "dead_units". Did you mean "dead-units"\?'),
        (
            "rules.update-too-large.limt = 3",
            r'no threshold "limt" \(= 3\). Did you mean "limit"\?\nIt has: limit,',
        ),
        ("rules.update-too-large.limit = 'a'", r"limit = 'a': expected a finite number"),
        ("rules.update-too-large.limit = inf", r"limit = inf: expected a finite number"),
        ("rules.update-too-large.limit = true", r"limit = True: expected a finite number"),
        ("rules.update-too-large.patience = 1.5", r"patience = 1.5: expected a whole number"),
        ("rules.update-too-large.on = 1", r"on = 1: expected true or false"),
        ("rules.update-too-large.kind = 1", r"kind = 1: expected a text in quotes"),
    ],
)
def test_mistakes(project: Path, text: str, match: str) -> None:
    refuse(project, text, match)


def test_a_section_that_is_none(project: Path) -> None:
    refuse(project, "", r"tool.diagnose must be a table, got 3", section="[tool]\ndiagnose = 3\n")


@pytest.mark.parametrize("text", ["tool = 3", "", "[project]\nname = 'x'"])
def test_somebody_elses_file(project: Path, text: str) -> None:
    write(project, text, section="")
    assert load_config(project) == Config()


def test_garbage_names_the_line(project: Path) -> None:
    refuse(project, "\n\nbudget = = 3", r"not valid TOML: .*line 4")
    refuse(project, "a = " + "[" * 100_000, r"not valid TOML")
    (project / "pyproject.toml").write_bytes(b"[tool.diagnose]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"pyproject.toml: not UTF-8 text \(at line 2\)"):
        load_config(project)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_content_raises_anything_but_config_error(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("p")
    (folder / "pyproject.toml").write_bytes(b"[tool.diagnose]\n" + content)
    message = str(folder / "pyproject.toml")
    try:
        load_config(folder)
    except ConfigError as error:
        message = str(error)
    assert str(folder / "pyproject.toml") in message


# -- the command line over the file -----------------------------------------------------------------


def test_override(rules: None) -> None:
    base = Config(budget=0.5, ignore=("dead-units",), live=True)
    assert base.override(budget=0.1, ignore=None, live=False) == Config(budget=0.1, ignore=("dead-units",))
    assert base.override(select=("dead-units",)).select == ("dead-units",)
    with pytest.raises(ConfigError, match=r'^select: there is no rule "dead". Did you mean "dead-units"\?'):
        base.override(select=("dead",))
    with pytest.raises(ConfigError, match=r"budget = 5.0: expected"):
        base.override(budget=5.0)


@pytest.mark.parametrize("option", [{"budget": -1.0}, {"fail_on": "info"}, {"schedule": "always"}])
def test_a_config_in_code_is_checked_too(option: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"= {next(iter(option.values()))!r}: expected")):
        Config(**option)  # type: ignore[arg-type]


@given(
    codes=st.frozensets(st.sampled_from("abcdef")),
    select=st.frozensets(st.sampled_from("abcdef")),
    ignore=st.frozensets(st.sampled_from("abcdef")),
)
def test_hidden(codes: frozenset[str], select: frozenset[str], ignore: frozenset[str]) -> None:
    hidden = Config(select=tuple(select), ignore=tuple(ignore)).hidden(codes)
    assert codes - hidden == {c for c in codes if (not select or c in select) and c not in ignore}
    assert "rule-error" not in hidden


# -- codes without imports --------------------------------------------------------------------------


def test_files_and_register_agree() -> None:
    """The shortcut through file names and sources tells what importing everything would."""
    registered = all_rules()
    assert set(config._our_rules()) == set(registered)
    for code, rule in registered.items():
        types = config._threshold_types(code)
        assert list(types) == list(rule.thresholds)
        for name, default in rule.thresholds.items():
            assert config._fits(default, types[name]), f"{code}: {name}"


def test_plugins_are_asked_for_a_code_that_is_not_ours(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = {"my-rule": {"limit": "float"}}
    monkeypatch.setattr(config, "_plugin_thresholds", lambda: plugin)
    write(project, "ignore = ['my-rule']\n[tool.diagnose.rules.my-rule]\nlimit = 2")
    assert load_config(project).rules == {"my-rule": {"limit": 2}}
    refuse(project, "select = ['my-rules']", r'Did you mean "my-rule"\?')


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    write(tmp_path, "ignore = ['rule-error']\nbudget = 0.5")
    source = (
        "import sys; from pathlib import Path; from diagnose.config import load_config;"
        "load_config(Path(sys.argv[1])); print({'numpy', 'torch', 'rich'} & set(sys.modules))"
    )
    path = os.pathsep.join(filter(None, ["src", os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", source, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout == "set()\n"


# -- suppressions ---------------------------------------------------------------------------------


def test_suppressions(project: Path) -> None:
    write(
        project,
        """
        baseline = "ci/known.json"
        [[tool.diagnose.suppress]]
        code = "dead-units"
        module = "encoder.*"
        reason = "sparse on purpose"
        [[tool.diagnose.suppress]]
        code = "update-too-large"
        file = "src/*.py"
        reason = "a test"
        """,
    )
    assert load_config(project) == Config(
        baseline=project / "ci" / "known.json",
        suppress=(
            Suppression("dead-units", "sparse on purpose", module="encoder.*"),
            Suppression("update-too-large", "a test", file="src/*.py"),
        ),
    )


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('code = "dead-units"', "number 1 has no reason: say why"),
        ('reason = "why"', "number 1 has no code"),
        ('code = "dead-units"\nreason = " "', "reason = ' ': expected a text in quotes"),
        ('code = "dead-units"\nreason = 3', "reason = 3: expected a text in quotes"),
        ('code = "dead-unit"\nreason = "why"', 'no rule "dead-unit". Did you mean "dead-units"'),
        ('code = "dead-units"\nreasons = "why"', 'unknown key "reasons" .* Did you mean "reason"'),
        ('code = "dead-units"\nreason = "why"\nline = 3', "The keys are: code, module, file, reason."),
    ],
)
def test_suppressions_that_are_wrong(project: Path, table: str, complaint: str) -> None:
    refuse(project, table, complaint.replace("?", r"\?"), section="[[tool.diagnose.suppress]]\n")


def test_suppressions_are_a_list(project: Path) -> None:
    refuse(project, 'code = "dead-units"', "must be a list of tables", section="[tool.diagnose.suppress]\n")
