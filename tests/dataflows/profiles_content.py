"""What the profile store holds, in a form that two runs can be compared by; and a profiles flow run in this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from bytewax.testing import cluster_main, run_main

from dataflows.profiles import build
from fixtures import people
from stores.profiles.choose import open_profile_reader
from stores.settings import Settings, load

STREAMS = Path(__file__).parents[2] / "fixtures" / "streams"
CONFIG = STREAMS / "headrace.toml"


def settings_of(data: Path, config: Path = CONFIG, **overrides: Any) -> Settings:
    """Return the settings of `config` with another data folder."""
    with mock.patch.dict(os.environ, {"HEADRACE_CONFIG": str(config)}):
        return load(data_dir=data, **overrides)


def content(data: Path, config: Path = CONFIG) -> dict[str, Any]:
    """Return all profiles with the members that they are of, and the offsets taken in.

    When something was applied is left out: it is all that two runs over the same events may differ in.
    """
    reader = open_profile_reader(settings_of(data, config))
    try:
        found: dict[str, Any] = {}
        after = ""
        while page := reader.persons(after, 1000):
            for profile in page:
                members = reader.members_of(profile.person)
                found[profile.person] = (_timeless(msgspec.to_builtins(profile)), msgspec.to_builtins(members))
            after = page[-1].person
        shared = sorted((one.realm, one.identifier, one.records, one.limit) for one in reader.shared())
        applied = {f"{mark.source}/{mark.partition}": mark.offset for mark in reader.applied()}
        return {"profiles": found, "shared": shared, "applied": applied, "totals": reader.totals()}
    finally:
        reader.close()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key != "applied_at"}
    return [_timeless(item) for item in value] if isinstance(value, (list, tuple)) else value


def partition(found: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Return for each person of `content` the records that it has."""
    return {
        person: frozenset(member["record"] for member in members) for person, (_, members) in found["profiles"].items()
    }


def replay(
    log: Path, data: Path, *, workers: int = 1, batch: int = 1000, config: Path = CONFIG, recovery: Any = None
) -> dict[str, Any]:
    """Run the profiles flow over the recorded streams to their end; return what the store holds."""
    settings = settings_of(data, config, mode="replay", log={"dir": log})
    settings = settings.model_copy(update={"profiles": settings.profiles.model_copy(update={"batch_size": batch})})
    flow = build(settings)
    if workers == 1:
        run_main(flow, recovery_config=recovery)
    else:
        cluster_main(flow, [], 0, recovery_config=recovery, worker_count_per_proc=workers)
    return content(data, config)


def crowd_config(folder: Path) -> Path:
    """Write the settings that `fixtures.people` is read with; return their file."""
    path = folder / "headrace.toml"
    path.write_text(people.SETTINGS)
    return path
