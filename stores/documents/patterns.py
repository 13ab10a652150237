"""Glob patterns on paths below a folder's root: which documents are wanted, and who may read them.

A pattern matches the whole path. `*` and `?` stay within one name, `**` as a whole name stands for any number of
directories, `[a-z]` and `[!a-z]` are one character. The extension is matched in any case: `*.md` takes `README.MD`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

_EXTENSION = re.compile(r"(.+?)((?:\.[A-Za-z0-9]+)+)")
_CACHED_DIRECTORIES = 100_000


def translate(pattern: str, label: str = "") -> str:
    """Return the regular expression that `pattern` stands for, to be matched against a whole path.

    What stands between two wildcards is matched at the first place where it fits and never tried at a later one: it
    would not help, and patterns with many wildcards would take forever.

    :arg label: Makes the names of groups unique if the expression becomes a part of another.
    """
    names = [name for name in pattern.split("/") if name not in ("", ".")]
    labels = (f"g{label}_{number}" for number in count())
    first, *others = _split(names, "**")
    if not others:
        return _translate_names(first, labels, last=True) if first else "(?!)"
    *middle, last = others
    parts = [_translate_names(first, labels) + "/" if first else ""]
    parts += [_once(f"(?:[^/]+/)*?{_translate_names(block, labels)}/", labels) for block in middle if block]
    parts += [f"(?:[^/]+/)*{_translate_names(last, labels, last=True)}" if last else "[^/]+(?:/[^/]+)*"]
    return "".join(parts)


def _split(items: Sequence[str], separator: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for item in items:
        if item == separator:
            blocks.append([])
        else:
            blocks[-1].append(item)
    return blocks


def _once(expression: str, labels: Iterator[str]) -> str:
    label = next(labels)
    return f"(?=(?P<{label}>{expression}))(?P={label})"


def _translate_names(names: Sequence[str], labels: Iterator[str], *, last: bool = False) -> str:
    parts = [_translate_name(name, labels, last and index == len(names)) for index, name in enumerate(names, start=1)]
    return "/".join(parts)


def _translate_name(name: str, labels: Iterator[str], last: bool) -> str:
    extension = _EXTENSION.fullmatch(name) if last else None
    head, tail = extension.groups() if extension else (name, "")
    first, *others = _split(_characters(head), "[^/]*")
    parts = ["".join(first)]
    parts += [_once(f"[^/]*?{''.join(block)}", labels) for block in others[:-1] if block]
    parts += [f"[^/]*{''.join(others[-1])}"] if others else []
    return "".join(parts) + (f"(?i:{re.escape(tail)})" if tail else "")


def _characters(text: str) -> list[str]:
    """Return an expression for each character, class or wildcard."""
    parts: list[str] = []
    place = 0
    while place < len(text):
        character = text[place]
        place += 1
        if character == "*":
            parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "[" and (end := text.find("]", place + 1 + (text[place : place + 1] == "!"))) > 0:
            parts.append(_translate_class(text[place:end]))
            place = end + 1
        else:
            parts.append(re.escape(character))
    return parts


def _translate_class(text: str) -> str:
    negated = text.startswith("!")
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", text[1:] if negated else text)
    expression = f"(?!/)[{'^' if negated else ''}{members}]"
    try:
        re.compile(expression)
    except re.error:  # such as a range that runs backwards: it stands for itself
        return re.escape(f"[{text}]")
    return expression


def _compile(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile(
        "|".join(f"(?:{translate(pattern, str(index))})" for index, pattern in enumerate(patterns)) or "(?!)", re.DOTALL
    )


class Patterns:
    """Which paths are wanted: those that an `include` matches and no `exclude`, nor a directory above them."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = _compile(include)
        self._exclude = _compile(exclude)
        everything_below = [pattern[: -len("/**")] for pattern in exclude if pattern.endswith("/**")]
        self._prune = _compile([*exclude, *everything_below])
        self._pruned: dict[str, bool] = {"": False}

    def wants(self, path: str) -> bool:
        """Return whether the file at `path` shall be read."""
        return self._include.fullmatch(path) is not None and not self.excludes(path)

    def excludes(self, path: str) -> bool:
        """Return whether the file at `path` is excluded, by itself or with a directory above it."""
        return self._exclude.fullmatch(path) is not None or self.prunes(path.rpartition("/")[0])

    def prunes(self, directory: str) -> bool:
        """Return whether nothing below `directory` can be wanted, because an `exclude` covers all of it."""
        known = self._pruned.get(directory)
        if known is None:
            known = self._prune.fullmatch(directory) is not None or self.prunes(directory.rpartition("/")[0])
            if len(self._pruned) >= _CACHED_DIRECTORIES:
                self._pruned = {"": False}
            self._pruned[directory] = known
        return known


class Audiences:
    """Who may read a document: the last pattern that matches its path decides, else the default."""

    def __init__(self, default: tuple[str, ...], by_pattern: Mapping[str, tuple[str, ...]]) -> None:
        self._default = default
        self._rules = [(_compile([pattern]), labels) for pattern, labels in reversed(list(by_pattern.items()))]

    def of(self, path: str) -> tuple[str, ...]:
        """Return the labels of the document at `path`."""
        return next((labels for rule, labels in self._rules if rule.fullmatch(path)), self._default)
