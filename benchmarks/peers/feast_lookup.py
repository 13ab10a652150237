"""Feast, as the benchmark of look-ups runs it: features of customers in its online store on SQLite.

    python feast_lookup.py FOLDER make ENTITIES SEED        fills the store; prints versions and seconds as JSON
    python feast_lookup.py FOLDER ask ENTITIES SEED COUNT   prints the milliseconds of look-ups in process as JSON

Runs in an environment of its own. The features are what a profile of the travel company has. Its feature server, asked
over HTTP, is started by the benchmark: `feast serve` in FOLDER.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import random
import sys
import time
from datetime import datetime, timedelta, timezone

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String

VIEW = "customers"
FEATURES = {
    "name": String,
    "email": String,
    "phone": String,
    "city": String,
    "points": Int64,
    "tier": String,
    "bookings": Int64,
    "spent": Float64,
}
CONFIGURATION = """
project: travel
provider: local
registry: registry.db
online_store:
  type: sqlite
  path: online.db
entity_key_serialization_version: 3
"""
BATCH = 5_000
WARM = 50


def table(first: int, after: int, seed: int) -> pd.DataFrame:
    """Return the features of customers `first` to `after`."""
    chance = random.Random(seed * 1_000_003 + first)
    numbers = range(first, after)
    now = datetime.now(timezone.utc)
    return pd.DataFrame(
        {
            "customer": list(numbers),
            "event_timestamp": [now] * len(numbers),
            "name": [f"Traveller {number}" for number in numbers],
            "email": [f"traveller.{number}@mail.example" for number in numbers],
            "phone": [f"+35191{number:07d}" for number in numbers],
            "city": [chance.choice(("Lisbon", "Antwerp", "Graz", "Krakow")) for _ in numbers],
            "points": [chance.randrange(10_000) for _ in numbers],
            "tier": [chance.choice(("blue", "silver", "gold")) for _ in numbers],
            "bookings": [chance.randrange(1, 4) for _ in numbers],
            "spent": [round(chance.uniform(30, 1500), 2) for _ in numbers],
        }
    )


def make(folder: pathlib.Path, entities: int, seed: int) -> dict[str, object]:
    """Register the view and write the features of all customers."""
    (folder / "feature_store.yaml").write_text(CONFIGURATION, encoding="utf-8")
    table(0, 1, seed).to_parquet(folder / "customers.parquet")
    customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
    fields = [Field(name="customer", dtype=Int64), *(Field(name=name, dtype=type_) for name, type_ in FEATURES.items())]
    view = FeatureView(
        name=VIEW,
        entities=[customer],
        ttl=timedelta(days=365),
        schema=fields,
        source=FileSource(path=str(folder / "customers.parquet"), timestamp_field="event_timestamp"),
        online=True,
    )
    store = FeatureStore(repo_path=str(folder))
    store.apply([customer, view])
    began = time.monotonic()
    for first in range(0, entities, BATCH):
        store.write_to_online_store(VIEW, table(first, min(first + BATCH, entities), seed))
    return {"feast": importlib.metadata.version("feast"), "seconds": time.monotonic() - began}


def ask(folder: pathlib.Path, entities: int, seed: int, count: int) -> list[float]:
    """Return the milliseconds of each look-up of one customer."""
    store = FeatureStore(repo_path=str(folder))
    chance = random.Random(seed)
    features = [f"{VIEW}:{name}" for name in FEATURES]
    millis = []
    for number in range(count + WARM):
        wanted = chance.randrange(entities)
        began = time.perf_counter()
        found = store.get_online_features(features=features, entity_rows=[{"customer": wanted}]).to_dict()
        passed = 1_000 * (time.perf_counter() - began)
        if found["email"] != [f"traveller.{wanted}@mail.example"]:
            message = f"the wrong customer was found: {found}"
            raise SystemExit(message)
        if number >= WARM:
            millis.append(passed)
    return millis


def main() -> None:
    folder, what, *numbers = sys.argv[1:]
    place = pathlib.Path(folder).resolve()
    does = {"make": make, "ask": ask}[what]
    print(json.dumps(does(place, *map(int, numbers))))


if __name__ == "__main__":
    main()
