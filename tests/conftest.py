"""Settings that hold for every test. Imports no torch: tests/repo/ runs without it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support import leaks

# One thread for each test and for the processes that it starts: the tests run side by side, and sums
# must not depend on how many cores there are. Read when torch is imported, which is later.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A training run inside a property has no useful deadline, and may well be "too slow".
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test marked `gpu` where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def _no_trace_left() -> Iterator[None]:
    """Fails a test that leaves hooks, modes, patched functions or signal handlers behind."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    before = leaks.take()
    yield
    if left := leaks.left_behind(before):
        leaks.put_back(before)
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
