"""The exceptions that `diagnose` raises on purpose; all derive from DiagnoseError."""


class DiagnoseError(Exception):
    """Base class: catching it catches everything that `diagnose` raises on purpose."""


class ConfigError(DiagnoseError):
    """An option or a key of `[tool.diagnose]` is unknown or has an impossible value."""


class HistoryError(DiagnoseError):
    """A series was fed or asked for in a way that its contract forbids."""


class RuleError(DiagnoseError):
    """A rule is declared wrongly: a duplicate code, an undocumented page, an unknown quantity."""


class RunDirectoryError(DiagnoseError):
    """A run directory cannot be created, or does not hold a readable run."""
