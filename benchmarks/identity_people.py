"""Links as a company's systems would bring them: persons with one to four records, each with two or three identifiers.

A function of the seed alone. One address in fifty is shared by a family, a few by whole offices.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from events.changes import Change
from events.persons import Links
from operators.identity.rules import IdentityRules, TypeRules

REALM = "travel"
RULES = IdentityRules(
    (
        TypeRules("loyalty", ("code",), 5),
        TypeRules("email", ("email",), 8),
        TypeRules("phone", ("phone",), 8),
    )
)
SYSTEMS = (("crm", "public.customers"), ("shop", "shop.users"), ("loyalty", "members"), ("desk", "desk.contacts"))
BEGIN = 1_700_000_000_000


def people(records: int, seed: int = 4) -> Iterator[Links]:
    """Return the first event of each of `records` records, in the order in which they were made."""
    random = Random(seed)
    left, number = records, 0
    waiting: list[Links] = []
    while left:
        number += 1
        own = (f"loyalty:LY{number:09d}", f"email:{_name(random)}.{number}@mail.example", f"phone:+3519{number:08d}")
        if random.random() < 0.02:
            own = (own[0], f"email:family.{number // 50}@mail.example", own[2])
        elif random.random() < 0.005:
            own = (own[0], f"email:office.{number // 20_000}@company.example", own[2])
        for system in random.sample(SYSTEMS, min(left, random.choice((1, 1, 2, 2, 2, 3, 4)))):
            left -= 1
            waiting.append(_links(system, number, own, random))
        if len(waiting) > 1_000:
            random.shuffle(waiting)
            yield from _placed(waiting[500:], records - left - len(waiting))
            del waiting[500:]
    random.shuffle(waiting)
    yield from _placed(waiting, records - len(waiting))


def touched(links: Links, number: int, identifiers: tuple[tuple[str, ...] | None, ...] | None = None) -> Links:
    """Return a later event of the same record, which carries other identifiers if they are given."""
    change = _change(links.change.source, links.change.table, links.change.key, number)
    return Links(change, links.realm, links.identifiers if identifiers is None else identifiers, links.created)


def _links(system: tuple[str, str], number: int, own: tuple[str, str, str], random: Random) -> Links:
    missing = random.choice((0, 1, 2, None, None))
    carried = tuple(() if rule == missing else (one,) for rule, one in enumerate(own))
    return Links(_change(*system, f'{{"id":{number}}}', 0), REALM, carried)


def _placed(waiting: list[Links], first: int) -> Iterator[Links]:
    for number, links in enumerate(waiting, first):
        yield touched(links, number)


def _change(source: str, table: str, key: str, number: int) -> Change:
    row = {"id": number}
    time = BEGIN + number * 10
    return Change(source, table, key, "update", None, row, time, (0, number), stream="customers", offset=number)


def _name(random: Random) -> str:
    return "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(8))
