"""What is wrong with one field of our own JSON, in words: which field, what it is, and what it may be.

The decoder's own text is never shown: it names types of Python. Only where it says something that is not known here, or
that is said better elsewhere, there are no words for it.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

import msgspec
from msgspec import UNSET

from events.errors import RejectedError
from events.feedback import Role, Scale
from operators.feedback.own_shapes import TYPES

_AT = re.compile(r"(.*) - at (`key` in )?`\$(.*)`", re.DOTALL)
_BOUND = re.compile(r"Expected `(\w+)` (of length )?(>=|<=) (\S+)")
_TYPE = re.compile(r"Expected `([^`]+)`, got `\w+`")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_KINDS = {"str": "a text", "bool": "true or false", "array": "a list", "object": "an object"}
_ALLOWED: dict[str, tuple[str, ...]] = {"role": get_args(Role), "scale": get_args(Scale)}
_SHOWN = 40


def misfit(error: msgspec.ValidationError, value: dict[str, Any]) -> RejectedError | None:
    """Return what is wrong with a field of `value`; None where there are no words for it."""
    found = _AT.fullmatch(str(error))
    kind = value.get("type")
    if found is None or kind not in TYPES:
        return None
    said, is_key, path = found.groups()
    is_one_of_many = bool(is_key) or "[...]" in path
    name = path.replace("[...]", "").lstrip(".")
    words = _words(said, name, UNSET if is_one_of_many else _value_at(value, path))
    if words is None:
        return None
    what, remedy = words
    where = f"a name in `{name}`" if is_key else f"a value in `{name}`" if is_one_of_many else f"`{name}`"
    return RejectedError(f"not a {kind}: {where} {what}", remedy)


def unknown_type(said: object) -> RejectedError | None:
    """Return what a `type` that does not exist may have been meant to be; None if it is like none of them."""
    if not isinstance(said, str) or said in TYPES:
        return None
    near = difflib.get_close_matches(said.lower(), TYPES, 1)
    return RejectedError(f"there is no `type` {said[:_SHOWN]!r}", f"did you mean {near[0]!r}?") if near else None


def _words(said: str, name: str, value: Any) -> tuple[str, str] | None:
    """Return what a field is, and what to do about it."""
    field = name.rpartition(".")[2]
    if field in _ALLOWED:
        return f"is {_shown(value)}", f"use one of {', '.join(_ALLOWED[field])}"
    if field == "type":
        return f"is {_shown(value)}", "leave it out there: the list says what is in it"
    if " matching regex " in said:
        return f"is {_shown(value)}", "give a language as in ISO 639-1, such as en or en-GB"
    if bound := _BOUND.fullmatch(said):
        kind, length, sign, limit = bound.groups()
        return _bounded(kind, limit, value, is_length=length is not None, is_least=sign == ">=")
    if types := _TYPE.fullmatch(said):
        names = types.group(1).split(" | ")
        kinds = [_KINDS.get(one, "a number") for one in names if one != "null"]
        rest = ", or leave it out" if "null" in names and name != "conversation" else ""
        return f"is {_shown(value)}", f"give {' or '.join(dict.fromkeys(kinds))}{rest}"
    return None


def _bounded(kind: str, bound: str, value: Any, *, is_length: bool, is_least: bool) -> tuple[str, str]:
    limit = f"{'at least' if is_least else 'at most'} {_plain(bound)}"
    if not is_length:
        return f"is {_shown(value)}", f"give a number of {limit}"
    if is_least:
        return "is empty", "give a text" if kind == "str" else f"give {limit}"
    entries = "characters" if kind == "str" else "entries"
    size = f"{len(value):,} {entries}" if isinstance(value, (str, list, dict)) else f"too many {entries}"
    return f"has {size}", f"give {limit}"


def _shown(value: Any) -> str:
    if value is UNSET:
        return "of another kind"
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:_SHOWN]!r}"
    return str(value)[:_SHOWN]


def _plain(bound: str) -> str:
    number = float(bound)
    return f"{number:,.0f}" if abs(number) < 1e15 else f"{number:g}"  # noqa: PLR2004  # where digits get many


def _value_at(value: Any, path: str) -> Any:
    for name, index in _STEP.findall(path):
        value = value[name] if name else value[int(index)]
    return value
