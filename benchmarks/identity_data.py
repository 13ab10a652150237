"""The records on which linking is measured: whose truth is known, with the rules that link them here.

The rules say what the columns mean. One of them, `half`, was added after the first look at the figures of the thousand
persons: single names are no names, so that half of their rows carried nothing (F1 .66 before it). The peer gets the
same columns: those of the thousand persons raw, as its own tutorial takes them, the others as our normalisers do.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from events.changes import Row
from operators.identity.configure import identity_rules, record_rules
from operators.identity.normalise import normaliser
from operators.identity.rules import IdentifierRule, IdentityRules, Normaliser, RecordRules, TypeRules
from stores.sections import table_of
from stores.settings import load

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = ROOT.parent / "shared" / "data"
STREAMS = ROOT / "fixtures" / "streams"


class Asked(msgspec.Struct, frozen=True):
    """What the peer is told, as `peers/splink_link.py` takes it."""

    comparisons: dict[str, str]
    blocking: tuple[tuple[str, ...], ...]
    certain: tuple[tuple[str, ...], ...]
    training: tuple[tuple[str, ...], ...]


class Records(msgspec.Struct, frozen=True):
    """Records of one data set.

    :arg rows: By record, the name of its table in the rules, and its row.
    :arg truth: By record the entity that it is of.
    :arg flat: By record what the peer gets of it.
    :arg labels: Pairs that people have looked at, and whether they match.
    """

    name: str
    rows: dict[str, tuple[str, Row]]
    truth: dict[str, str]
    rules: IdentityRules
    tables: dict[str, RecordRules]
    flat: dict[str, dict[str, str]]
    asked: Asked
    labels: tuple[tuple[str, str, bool], ...] = ()


def fixtures() -> Records:
    """Return the travel company's customers in four systems, with the rules of its own settings."""
    before = os.environ.get("HEADRACE_CONFIG")
    os.environ["HEADRACE_CONFIG"] = str(STREAMS / "headrace.toml")
    try:
        profiles = load().profiles
    finally:
        if before is None:
            del os.environ["HEADRACE_CONFIG"]
        else:
            os.environ["HEADRACE_CONFIG"] = before
    truth = msgspec.json.decode((STREAMS / "customers.truth.json").read_bytes(), type=dict[str, int])
    final = msgspec.json.decode((STREAMS / "customers.final.json").read_bytes(), type=dict[str, dict[str, Any]])
    rows: dict[str, tuple[str, Row]] = {}
    for record in truth:
        source, table, _ = record.split("/", 2)
        settings = table_of(profiles.tables, source, table)
        if settings is None:
            message = f"no table of the settings is made of {record}"
            raise ValueError(message)
        rows[record] = (settings.name, final[record])
    columns = {
        "name": (("full_name", "first_name+last_name", "NAME", "display_name"), "name"),
        "email": (("email", "EMAIL"), "email"),
        "phone": (("phone",), "phone"),
        "birth_date": (("birth_date", "BIRTH_DATE"), "date"),
        "postcode": (("postcode", "POSTCODE"), "postcode"),
        "loyalty": (("loyalty_number", "MEMBER_NO"), "code"),
        "device": (("device_id",), "code"),
    }
    kinds = ("name", "email", "code", "date", "exact", "exact", "exact")
    return Records(
        "fixtures: customers of four systems",
        rows,
        {record: str(person) for record, person in truth.items()},
        identity_rules(profiles),
        record_rules(profiles),
        {record: _flat(row, columns, profiles.region) for record, (_, row) in rows.items()},
        Asked(
            dict(zip(columns, kinds, strict=True)),
            (("name",), ("email",), ("phone",), ("loyalty",), ("device",), ("birth_date", "postcode")),
            (("email",), ("loyalty",), ("name", "birth_date", "postcode")),
            (("name",), ("email",)),
        ),
    )


def fake_1000() -> Records | None:
    """Return Splink's own thousand of noisy persons, raw as its tutorial takes them; None if they are not there."""
    folder = PUBLIC / "splink_datasets"
    if not folder.is_dir():
        return None
    table = _read(folder / "fake_1000.csv")
    rows: dict[str, tuple[str, Row]] = {row["unique_id"]: ("people", dict(row)) for row in table}
    rules = IdentityRules(
        (
            TypeRules("email", ("email",), 20),
            TypeRules("born", ("name", "date"), 20),
            TypeRules("half", ("code", "date"), 20),
            TypeRules("named", ("name", "code"), 20),
        )
    )
    both = ("first_name", "surname")
    identifiers = (
        IdentifierRule("email", (("email",),)),
        IdentifierRule("born", (both, ("dob",))),
        *(IdentifierRule("half", ((name,), ("dob",))) for name in both),
        IdentifierRule("named", (both, ("city",))),
    )
    columns = ("first_name", "surname", "dob", "city", "email")
    labels = tuple(
        (row["unique_id_l"], row["unique_id_r"], float(row["clerical_match_score"]) > 0.5)
        for row in _read(folder / "fake_1000_labels.csv")
    )
    return Records(
        "splink_datasets/fake_1000",
        rows,
        {row["unique_id"]: row["cluster"] for row in table},
        rules,
        {"people": RecordRules("people", "default", identifiers)},
        {row["unique_id"]: {column: row[column] for column in columns} for row in table},
        Asked(
            dict(zip(columns, ("name", "name", "date", "exact", "email"), strict=True)),
            (("first_name",), ("surname",), ("dob",), ("email",)),
            (("first_name", "surname", "dob"), ("email",)),
            (("first_name", "surname"), ("dob",)),
        ),
        labels,
    )


def dedupe_csv() -> Records | None:
    """Return dedupe's 3,337 records of places that care for children; None if they are not there."""
    path = PUBLIC / "dedupe_csv_example" / "csv_example_input_with_true_ids.csv"
    if not path.is_file():
        return None
    table = _read(path)
    rows: dict[str, tuple[str, Row]] = {row["Id"]: ("places", dict(row)) for row in table}
    # Numbers have no area code, and are no telephone numbers that could be told from others by their plan.
    rules = IdentityRules(
        (
            TypeRules("called", ("code", "code"), 20),
            TypeRules("named", ("name", "code"), 20),
            TypeRules("reached", ("name", "code"), 20),
        )
    )
    site, address, phone = ("Site name",), ("Address",), ("Phone",)
    identifiers = (
        IdentifierRule("called", (phone, address)),
        IdentifierRule("named", (site, address)),
        IdentifierRule("reached", (site, phone)),
    )
    columns: dict[str, tuple[tuple[str, ...], Normaliser]] = {
        "name": (("Site name",), "name"),
        "address": (("Address",), "code"),
        "phone": (("Phone",), "code"),
        "zip": (("Zip",), "postcode"),
    }
    return Records(
        "dedupe csv_example",
        rows,
        {row["Id"]: row["True Id"] for row in table},
        rules,
        {"places": RecordRules("places", "default", identifiers)},
        {record: _flat(row, columns, "US") for record, (_, row) in rows.items()},
        Asked(
            dict(zip(columns, ("name", "text", "code", "exact"), strict=True)),
            (("name",), ("address",), ("phone",)),
            (("name", "address"), ("phone", "address")),
            (("name",), ("phone",)),
        ),
    )


def described(records: Records) -> list[str]:
    """Return the rules, a line for each type, for people."""
    lines = []
    for type_ in records.rules.types:
        found = sorted(
            {
                " and ".join("+".join(columns) for columns in rule.columns)
                for table in records.tables.values()
                for rule in table.identifiers
                if rule.type == type_.type
            }
        )
        lines.append(f"{type_.type} ({', '.join(type_.parts)}; up to {type_.limit} records): {'; '.join(found)}")
    return lines


def _flat(row: Row, columns: Mapping[str, tuple[tuple[str, ...], Any]], region: str) -> dict[str, str]:
    """Return the columns of the peer, each from the first of ours that the row has, normalised if it can be."""
    flat = {}
    for name, (places, part) in columns.items():
        texts = (" ".join(str(row[one]) for one in place.split("+") if row.get(one)) for place in places)
        text = next((text for text in texts if text.strip()), "")
        made = normaliser(part, region=region)(text) if text else ""
        flat[name] = made if isinstance(made, str) else ""
    return flat


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.DictReader(file))
