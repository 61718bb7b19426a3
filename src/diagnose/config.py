"""Options of a run, and `[tool.diagnose]` of pyproject.toml; the command line overrides the file.

    [tool.diagnose]
    ignore = ["saturated-units"]
    budget = 0.01                  # share of the training time that watching may take
    fail-on = "error"              # exit code 3 if a finding is at least that severe
    run-dir = "runs/latest"        # relative to this file
    baseline = "diagnose-baseline.json"      # known findings: `diagnose run --write-baseline FILE`

    [[tool.diagnose.suppress]]     # known findings that are in order, one table each
    code = "dead-units"
    module = "encoder.*"           # of the module or parameter; `file` works in the same way
    reason = "sparse on purpose"

    [tool.diagnose.rules.update-too-large]
    limit = 0.05                   # a threshold of the rule: `diagnose explain update-too-large`

The file is read before the training script runs, and nothing heavy may be imported by then. So the codes of
our own rules are the names of their files, and their thresholds are read from the source. The modules are
imported only when a code is none of ours and plugins are installed.
"""

from __future__ import annotations

import ast
import difflib
import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from diagnose.acceptance import Suppression
from diagnose.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FailOn = Literal["error", "warning", "never"]
ScheduleName = Literal["budget", "every", "seeded"]
Threshold: TypeAlias = "bool | int | float | str"

FILE_NAME: Final = "pyproject.toml"
SECTION: Final = "tool.diagnose"
PLUGINS: Final = "diagnose.rules"
RULES_FOLDER: Final = Path(__file__).with_name("rules")
RULE_ERROR: Final = "rule-error"
"""A rule that failed: a code without a rule, which may be ignored like any other."""


@dataclass(frozen=True)
class Config:
    """The options of one run; impossible values raise ConfigError.

    Attributes:
        select: codes to report; empty means all.
        ignore: codes to leave out, also out of `select`.
        budget: share of the run's own time that watching may take, in (0, 1].
        fail_on: the least severity for which the exit code is 3.
        run_dir: where the run is stored; None means a new directory below `diagnose-runs`.
        json, sarif: where the JSON and the SARIF report go; None means nowhere.
        baseline: file of the findings that are known and not reported.
        write_baseline: where to write such a file at the end.
        suppress: findings that are not reported, each with its reason.
        tensorboard: whether event files are written into the run directory.
        live: whether a status line is shown while the script trains.
        probe_seconds: how long probes may take: the model is run again on copies of a batch; 0 for no probes.
        schedule: "budget" uses the clock; "every" step and "seeded" do not, so that runs can be repeated.
        track_examples: whether the margin of each training example is tracked: it tells wrong labels.
        verbose: whether the summary also lists the rules that could not run.
        rules: by code, thresholds that replace a rule's own.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    budget: float = 0.02
    fail_on: FailOn = "never"
    run_dir: Path | None = None
    json: Path | None = None
    sarif: Path | None = None
    baseline: Path | None = None
    write_baseline: Path | None = None
    tensorboard: bool = True
    live: bool = False
    probe_seconds: float = 2.0
    schedule: ScheduleName = "budget"
    track_examples: bool = False
    verbose: bool = False
    rules: Mapping[str, Mapping[str, Threshold]] = field(default_factory=dict)
    suppress: tuple[Suppression, ...] = ()

    def __post_init__(self) -> None:
        for name in ("budget", "fail_on", "schedule", "probe_seconds"):
            _checked(_kebab(name), getattr(self, name), "option", Path())

    def override(self, **options: Any) -> Config:
        """A copy with the options that are not None; what is None keeps its value.

        Raises:
            ConfigError: an impossible value, or an unknown code in `select` or `ignore`.
        """
        given = {name: value for name, value in options.items() if value is not None}
        for name in ("select", "ignore"):
            _check_codes(given.get(name, ()), name)
        return replace(self, **given)

    def hidden(self, codes: Iterable[str]) -> frozenset[str]:
        """Those of `codes` that `select` and `ignore` leave out; see `rules.diagnose_history`."""
        unselected = set(codes) - set(self.select) if self.select else set()
        return frozenset(unselected | set(self.ignore))


def load_config(start: Path) -> Config:
    """The options of the nearest pyproject.toml with a `[tool.diagnose]`, in `start` or above it.

    Files without that section are passed over. The search ends at the top of a git repository: what lies
    above belongs to another project. Without such a file all options have their defaults.

    Args:
        start: a directory, or a file in it. Relative paths in the file are relative to the file.

    Raises:
        ConfigError: the file is not TOML, or has an unknown key, code or threshold, or a value of the wrong
            type or out of range. The message names the file, the key, the value and the nearest known one.
    """
    folder = start.absolute()
    for parent in (folder, *folder.parents):
        file = parent / FILE_NAME
        if file.is_file() and (section := _section(file)) is not None:
            return Config(**_options(section, file))
        if (parent / ".git").exists():
            break
    return Config()


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean "...?"` with the nearest of the `known` words, "" if none is near."""
    found = difflib.get_close_matches(word.lower().replace("_", "-"), known, n=1, cutoff=0.5)
    return f' Did you mean "{found[0]}"?' if found else ""


def check_codes(codes: Iterable[str], known: Collection[str], source: str, *, broken: Mapping[str, str]) -> None:
    """Raises ConfigError if one of `codes` is not among the `known` ones, nor perhaps of a `broken` plugin."""
    for code in codes:
        if code not in known:
            hint = nearest(code, known) or " `diagnose rules` lists all."
            plugins = "".join(f"\nThe plugin {name} could not be loaded: {problem}" for name, problem in broken.items())
            raise ConfigError(f'{source}: there is no rule "{code}".{hint}{plugins}')


# -- reading the file -------------------------------------------------------------------------------


def _section(file: Path) -> Mapping[str, Any] | None:
    """The table `[tool.diagnose]` of `file`, None if it has none."""
    try:
        text = file.read_bytes().decode()
        data = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: not UTF-8 text (at line {line}); TOML files must be") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: nested too deeply") from None
    tool = data.get("tool")
    section = tool.get("diagnose") if isinstance(tool, dict) else None
    if section is not None and not isinstance(section, dict):
        raise ConfigError(f"{file}: {SECTION} must be a table, got {section!r}: write [{SECTION}]")
    return section


def _options(section: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The keyword arguments of Config that a section asks for."""
    options: dict[str, Any] = {}
    source = f"{file}: [{SECTION}]"
    for key, value in section.items():
        if key == "rules":
            options["rules"] = _thresholds(value, file)
            continue
        if key == "suppress":
            options["suppress"] = _suppressions(value, file)
            continue
        if key not in _CHECKS:
            known = sorted([*_CHECKS, "rules", "suppress"])
            raise ConfigError(
                f'{source} has an unknown key "{key}" (= {value!r}).{nearest(key, known)}\n'
                f"The keys are: {', '.join(known)}."
            )
        options[key.replace("-", "_")] = _checked(key, value, source, file.parent)
        if key in ("select", "ignore"):
            _check_codes(value, f"{source} {key}")
    return options


def _checked(key: str, value: object, source: str, folder: Path) -> object:
    """`value` as Config holds it; ConfigError if the option `key` cannot have it."""
    check, expected = _CHECKS[key]
    try:
        return check(value, folder)
    except ValueError:
        suggestion = nearest(value, _WORDS.get(key, ())) if isinstance(value, str) else ""
        raise ConfigError(f"{source} {key} = {value!r}: expected {expected}.{suggestion}") from None


def _codes(value: object, _folder: Path) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(code, str) for code in value):
        raise ValueError
    return tuple(value)


def _share(value: object, _folder: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError
    return float(value)


def _seconds(value: object, _folder: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError
    return float(value)


def _flag(value: object, _folder: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _path(value: object, folder: Path) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return folder / Path(value).expanduser()


def _one_of(*words: str) -> Callable[[object, Path], str]:
    def check(value: object, _folder: Path) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return value

    return check


_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "fail-on": get_args(FailOn),
    "schedule": get_args(ScheduleName),
}


def _words(key: str) -> tuple[Callable[[object, Path], str], str]:
    words = _WORDS[key]
    return _one_of(*words), "one of " + ", ".join(f'"{word}"' for word in words)


_CHECKS: Final[Mapping[str, tuple[Callable[[object, Path], object], str]]] = {
    "select": (_codes, 'a list of codes, such as ["dead-units"]'),
    "ignore": (_codes, 'a list of codes, such as ["dead-units"]'),
    "budget": (_share, "a number above 0 and at most 1 (0.02 is 2 % of the training time)"),
    "fail-on": _words("fail-on"),
    "run-dir": (_path, "a path in quotes"),
    "json": (_path, "a path in quotes"),
    "sarif": (_path, "a path in quotes"),
    "baseline": (_path, "a path in quotes"),
    "tensorboard": (_flag, "true or false"),
    "live": (_flag, "true or false"),
    "probe-seconds": (_seconds, "a number of seconds, 0 for no probes"),
    "schedule": _words("schedule"),
    "track-examples": (_flag, "true or false"),
    "verbose": (_flag, "true or false"),
}


# -- codes and thresholds ---------------------------------------------------------------------------


def _check_codes(codes: Collection[str], source: str) -> None:
    ours = _our_rules()
    if any(code not in ours and code != RULE_ERROR for code in codes):
        known = {*ours, *_plugin_thresholds(), RULE_ERROR}
        check_codes(codes, known, source, broken=_broken_plugins())


_SUPPRESS_KEYS: Final = ("code", "module", "file", "reason")


def _suppressions(tables: object, file: Path) -> tuple[Suppression, ...]:
    """The checked content of `[[tool.diagnose.suppress]]`."""
    source = f"{file}: [[{SECTION}.suppress]]"
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{source} must be a list of tables, got {tables!r}: write [[{SECTION}.suppress]]")
    for number, table in enumerate(tables, start=1):
        for key, value in table.items():
            if key not in _SUPPRESS_KEYS:
                hint = nearest(key, _SUPPRESS_KEYS)
                raise ConfigError(
                    f'{source} number {number} has an unknown key "{key}" (= {value!r}).{hint}\n'
                    f"The keys are: {', '.join(_SUPPRESS_KEYS)}."
                )
            if not isinstance(value, str) or not value.strip():
                raise ConfigError(f"{source} number {number} {key} = {value!r}: expected a text in quotes")
        for key in ("code", "reason"):
            if key not in table:
                why = ": say why, for those who read it later" if key == "reason" else ""
                raise ConfigError(f"{source} number {number} has no {key}{why}")
        _check_codes([table["code"]], f"{source} number {number} code")
    return tuple(Suppression(**table) for table in tables)


def _thresholds(tables: object, file: Path) -> dict[str, dict[str, Threshold]]:
    """The checked content of `[tool.diagnose.rules]`."""
    source = f"{file}: [{SECTION}.rules"
    if not isinstance(tables, dict):
        raise ConfigError(f"{source}] must be a table, got {tables!r}: write [{SECTION}.rules.CODE]")
    _check_codes(tables, f"{source}]")
    checked: dict[str, dict[str, Threshold]] = {}
    for code, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{source}] {code} = {table!r}: write [{SECTION}.rules.{code}] and a line each")
        types = _threshold_types(code)
        for key, value in table.items():
            known = {_kebab(name): kind for name, kind in types.items()}
            if key not in known:
                names = f"It has: {', '.join(known)}." if known else "It has none."
                hint = nearest(key, known)
                raise ConfigError(f'{source}.{code}]: the rule has no threshold "{key}" (= {value!r}).{hint}\n{names}')
            if not _fits(value, known[key]):
                raise ConfigError(f"{source}.{code}] {key} = {value!r}: expected {_TYPES[known[key]]}")
            checked.setdefault(code, {})[key.replace("-", "_")] = value
    return checked


_TYPES: Final[Mapping[str, str]] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a finite number",
    "str": "a text in quotes",
}


def _fits(value: object, kind: str) -> bool:
    """Whether `value` may stand for a threshold of type `kind`; a type not in _TYPES takes everything."""
    if kind not in _TYPES:
        return True
    if isinstance(value, bool) or kind == "bool":
        return isinstance(value, bool) and kind == "bool"
    if kind == "float":
        return isinstance(value, int | float) and math.isfinite(value)
    return type(value).__name__ == kind


def _our_rules() -> dict[str, Path]:
    """The files of our own rules, by code: one rule, one file, one name."""
    files = RULES_FOLDER.rglob("*.py")
    ours = (file for file in files if not file.stem.startswith("_"))
    return {_kebab(file.stem): file for file in sorted(ours)}


def _threshold_types(code: str) -> dict[str, str]:
    """Names and type names of the keyword arguments of the rule `code`, read from its source."""
    file = _our_rules().get(code)
    if file is None:
        return _plugin_thresholds().get(code, {})
    name = code.replace("-", "_")
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in node.args.kwonlyargs}
    return {}


def _plugin_thresholds() -> dict[str, dict[str, str]]:
    """Threshold types by code of the rules that plugins add; imports them, and numpy, if there are any."""
    from importlib.metadata import entry_points  # 20 ms, and rarely needed

    if not entry_points(group=PLUGINS):
        return {}
    from diagnose.rules import all_rules

    return {
        code: {name: type(value).__name__ for name, value in rule.thresholds.items()}
        for code, rule in all_rules().items()
    }


def _broken_plugins() -> dict[str, str]:
    """After `_plugin_thresholds`: the plugins that it could not load. Nothing is imported for it."""
    rules = sys.modules.get("diagnose.rules")
    return dict(rules.broken_plugins()) if rules is not None else {}


def _kebab(name: str) -> str:
    return name.replace("_", "-")
