"""YAML front matter of Markdown: what a document says about itself, above all who may read it.

Invariant: front matter that cannot be read rejects its document. Who may read it is then unknown, and nobody may.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from events.errors import RejectedError

_MOST_LINES = 200
_MOST_CHARACTERS = 16_384
_MOST_FIELDS = 32
_LONGEST_NAME = 64
_LONGEST_VALUE = 500
_MOST_LABELS = 64
_KEY = re.compile(r"^[\w\"'][\w\"' -]{0,63}:(?:\s|$)", re.MULTILINE)
_AUDIENCE = re.compile(r"^[\"']?audience[\"']?[ \t]*:", re.MULTILINE | re.IGNORECASE)


class FrontMatter(msgspec.Struct, frozen=True):
    """What the front matter says; `audience` is None where it says nothing of it."""

    title: str = ""
    audience: tuple[str, ...] | None = None
    metadata: dict[str, str] = {}


def split_front_matter(text: str) -> tuple[FrontMatter, str]:
    """Return the front matter of a Markdown text and the text below it.

    A text that begins with a thematic break and no mapping is all text. Empty lines may stand above it.

    :raises RejectedError: When the front matter is no valid YAML, is never closed, or names its audience wrongly.
    """
    lines = text.lstrip().split("\n", _MOST_LINES + 1)
    if lines[0].rstrip() != "---":
        return FrontMatter(), text
    inner = lines[1 : _MOST_LINES + 1]
    end = next((number for number, line in enumerate(inner) if line.rstrip() in ("---", "...")), None)
    if end is None:
        if _AUDIENCE.search("\n".join(inner)):
            reason = "it is not closed by a line `---`"
            raise _rejected(reason)
        return FrontMatter(), text
    source = "\n".join(inner[:end])
    body = "\n".join(lines[end + 2 :])
    if not source.strip():
        return FrontMatter(), body
    fields = _mapping(source)
    if fields is not None:
        return _interpret(fields), body
    if _AUDIENCE.search(source):
        reason = "it names an audience, but not as a field: put a space after each colon"
        raise _rejected(reason)
    return FrontMatter(), text


def _rejected(reason: str) -> RejectedError:
    detail = f"its front matter cannot be read: {reason}"
    return RejectedError(detail, "correct the lines between the two `---` at its top")


def _mapping(source: str) -> dict[str, Any] | None:
    """Return the fields, keys in lower case; None if the YAML is something else than a mapping."""
    import yaml

    class Loader(yaml.SafeLoader):
        """A small text can grow without bound by aliases: there are none."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                message = "aliases are not allowed"
                raise yaml.YAMLError(message)
            return super().compose_node(parent, index)

    if len(source) > _MOST_CHARACTERS:
        if _is_meant(source):
            reason = f"it has more than {_MOST_CHARACTERS:,} characters"
            raise _rejected(reason)
        return None
    try:
        loader = Loader(source)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                return None
            fields = loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        if not _is_meant(source):
            return None
        raise _rejected(_reason(error)) from None
    named = {str(key).casefold(): value for key, value in fields.items()}
    if len(named) < len(fields) or _repeats(node):
        reason = "a field stands there twice"
        raise _rejected(reason)
    return named


def _is_meant(source: str) -> bool:
    """Whether lines that are no valid YAML were meant to be."""
    return _KEY.search(source) is not None or "audience" in source.casefold()


def _repeats(node: Any) -> bool:
    names = [str(key.value) for key, _ in node.value]
    return len(set(names)) < len(names)


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    place = f" in line {mark.line + 2}" if mark is not None else ""
    return " ".join(f"{problem}{place}".split())[:_LONGEST_VALUE]


def _interpret(fields: Mapping[str, Any]) -> FrontMatter:
    metadata: dict[str, str] = {}
    for name, value in fields.items():
        written = _scalar(value)
        if name in ("title", "audience") or written is None or len(metadata) >= _MOST_FIELDS:
            continue
        metadata[_unicode(name)[:_LONGEST_NAME]] = written[:_LONGEST_VALUE]
    title = " ".join((_scalar(fields.get("title")) or "").split())
    audience = _audience(fields["audience"]) if "audience" in fields else None
    return FrontMatter(title[:_LONGEST_VALUE], audience, metadata)


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, (int, float)) or hasattr(value, "isoformat"):
        return str(value)
    return None


def _audience(value: object) -> tuple[str, ...]:
    labels = value.split(",") if isinstance(value, str) else value
    if not isinstance(labels, list) or not all(isinstance(label, str) and label.strip() for label in labels):
        reason = "'audience' must be a label or a list of labels; an empty list `[]` lets nobody read it"
        raise _rejected(reason)
    if len(labels) > _MOST_LABELS:
        reason = f"'audience' has more than {_MOST_LABELS} labels"
        raise _rejected(reason)
    return tuple(dict.fromkeys(_unicode(label).strip() for label in labels))


def _unicode(text: str) -> str:
    """Join the surrogate pairs that YAML takes from JSON-like escapes; replace those that are alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
