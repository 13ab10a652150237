"""Settings of all tests: how many examples, no settings from outside, where the real data lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"

_quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=_quiet, print_blob=True)
settings.register_profile("long", settings.get_profile("ci"), max_examples=5_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


_LONGEST_FIRST = ("faults", "integration", "browser", "property", "dataflows", "contract")


def pytest_configure() -> None:
    """Forget settings from outside, also for what is set up for a module or a session."""
    _forget_settings()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, so that the processes that share the files end at about the same time."""
    places = {folder: place for place, folder in enumerate(_LONGEST_FIRST)}

    def place(item: pytest.Item) -> int:
        return places.get(item.path.relative_to(ROOT / "tests").parts[0], len(places))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _no_settings_from_others() -> Iterator[None]:
    """A command that a test runs in this process may leave settings behind: they are not for the next test."""
    yield
    _forget_settings()


def _forget_settings() -> None:
    for name in list(os.environ):
        if name.startswith("HEADRACE_") and not name.startswith("HEADRACE_TEST_"):
            del os.environ[name]


@pytest.fixture
def real_data(request: pytest.FixtureRequest) -> Path:
    """Return the folder of public data; skip where the data set that `realdata` names is not there."""
    marker = request.node.get_closest_marker("realdata")
    name = marker.args[0] if marker and marker.args else ""
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name!r} is not in {REAL_DATA}")
    return folder
