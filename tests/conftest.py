"""Settings of all tests: how many examples, no settings from outside, where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"

_quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=_quiet, print_blob=True)
settings.register_profile("long", settings.get_profile("ci"), max_examples=5_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("HEADRACE_") and name != "HEADRACE_TEST_KAFKA":
            monkeypatch.delenv(name)


@pytest.fixture
def real_data(request: pytest.FixtureRequest) -> Path:
    """Return the folder of public data; skip where the data set that `realdata` names is not there."""
    marker = request.node.get_closest_marker("realdata")
    name = marker.args[0] if marker and marker.args else ""
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name!r} is not in {REAL_DATA}")
    return folder
