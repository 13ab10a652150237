"""Keys of applications. The file holds what a key may do and the hash of it, never the key.

A key is `hr_`, eight letters or digits that name it, `_`, and 256 random bits. Nobody can try so many, so that one
round of SHA-256 keeps it as secret as a slow hash would: those make guessing dear, and here there is nothing to guess.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import hmac
import math
import os
import re
import string
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from events.clock import Clock, system_clock
from events.errors import RejectedError, SettingsError, StoreError
from serving.access.caller import PUBLIC, SCOPES, Scope
from serving.access.labels import checked_labels
from serving.access.private_file import Followed, alone, replace
from serving.errors import NotFoundError
from stores.sections import checked_name

PAGE = "page"
"""Name of the key of the web page."""
ALL = "all"
"""Stands for all scopes but `tokens`: whoever may say who a person is may see everybody's data."""

_VERSION = 1
_KEY = re.compile(r"hr_([a-z2-7]{8})_[0-9A-Za-z]{43}")
_LONGEST = 512
_LEAST_OF_PAGE = 32
_SHOWN = 100
_DAY = 86_400_000
_MOST_DAYS = 36_500
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_DIGITS = 43
_NO_HASH = "0" * 64

Randomness = Callable[[int], bytes]
"""Returns so many random bytes."""


class StoredKey(msgspec.Struct, frozen=True):
    """A key, but for its secret.

    :arg id: The letters and digits by which it is found.
    :arg name: Names the application; unique.
    :arg hash: SHA-256 of the whole key, hexadecimal.
    :arg created_at: When it was made (ms since epoch).
    :arg expires_at: From when on it is not good any more; None: it stays good.
    """

    id: str
    name: str
    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...]
    audiences: tuple[str, ...]
    created_at: int
    expires_at: int | None = None

    def expired(self, now: int) -> bool:
        """Tell whether it is not good any more."""
        return self.expires_at is not None and self.expires_at <= now


class _Content(msgspec.Struct, frozen=True):
    keys: tuple[StoredKey, ...]
    version: int = _VERSION


class Keys:
    """The keys that there are. Threads and processes may share the file.

    :arg path: The file; made with the first key.
    :arg page_key: One more key, good for everything, that is in no file: of the web page, for who started the server.
    :arg page_audiences: Labels of that one.
    :raises SettingsError: When the page's key is none that keeps a secret.
    """

    def __init__(
        self,
        path: Path,
        page_key: str = "",
        *,
        page_audiences: Iterable[str] = (PUBLIC,),
        clock: Clock = system_clock,
        randomness: Randomness = os.urandom,
    ) -> None:
        self._path = path
        self._clock = clock
        self._randomness = randomness
        self._known = Followed(path, self._by_id)
        self._page: StoredKey | None = None
        if page_key:
            _check_page_key(page_key)
            labels = checked_labels(page_audiences)
            self._page = StoredKey("", PAGE, _hash(page_key), SCOPES, labels, clock())

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        audiences: Iterable[str] = (PUBLIC,),
        *,
        days: float | None = None,
    ) -> str:
        """Make a key; return it, which is the only time that it is seen.

        :arg days: For how long it is good; None: until it is removed.
        :raises RejectedError: When its name is taken or none, it would be good for nothing, or for no time.
        """
        now = self._clock()
        expires_at = None if days is None else now + _span(days)
        wanted = set(scopes)
        chosen = tuple(scope for scope in SCOPES if scope in wanted)
        if not chosen:
            detail = f"the key {name[:_SHOWN]!r} would be good for nothing"
            raise RejectedError(detail, f"give it a scope, one of: {', '.join(SCOPES)}")
        labels = checked_labels(audiences)
        self._check_name(name)
        with alone(self._path):
            keys = self.list()
            if any(key.name == name for key in keys):
                detail = f"there is a key named {name!r}"
                raise RejectedError(detail, f"use another name, or `headrace keys remove {name}` first")
            key, id_ = self._another({key.id for key in keys})
            made = StoredKey(id_, name, _hash(key), chosen, labels, now, expires_at)
            self._replace([*keys, made])
        return key

    def find(self, key: str) -> StoredKey | None:
        """Return what a key may do; None if there is none such, or it is not good any more.

        :raises StoreError: When the file of the keys cannot be read.
        """
        if len(key) > _LONGEST or not key.isascii():
            return None
        hash_ = _hash(key)
        if self._page is not None and hmac.compare_digest(hash_, self._page.hash):
            return self._page
        named = _KEY.fullmatch(key)
        found = (self._known.get() or {}).get(named[1]) if named else None
        # The same work for a name that there is not, and nothing to be learned from how much of a secret is right.
        right = hmac.compare_digest(hash_, _NO_HASH if found is None else found.hash)
        return found if right and found is not None and not found.expired(self._clock()) else None

    def list(self) -> list[StoredKey]:
        """Return the keys of the file, oldest first; also those that are not good any more."""
        return list((self._known.get() or {}).values())

    def remove(self, name: str) -> None:
        """End a key; running servers refuse it from then on.

        :raises NotFoundError: When there is none of that name.
        """
        self._without(name)  # a wrong name leaves no trace
        with alone(self._path):
            self._replace(self._without(name))

    def _without(self, name: str) -> Iterable[StoredKey]:
        keys = self.list()
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            close = difflib.get_close_matches(name[:_SHOWN], [key.name for key in keys], n=1)
            detail = f"there is no key {name[:_SHOWN]!r}"
            raise NotFoundError(detail, f"did you mean {close[0]!r}?" if close else "`headrace keys list` shows all")
        return left

    def _check_name(self, name: str) -> None:
        try:
            checked_name(name)
        except ValueError:
            detail = f"{name[:_SHOWN]!r} can be no name of a key"
            hint = "name the application, such as `shop-assistant`: lower-case letters, digits, '.', '-' and '_'"
            raise RejectedError(detail, hint) from None
        if name == PAGE:
            detail = f"{PAGE!r} is the name of the web page's own key"
            raise RejectedError(detail, "use another name")

    def _another(self, taken: set[str]) -> tuple[str, str]:
        while True:
            key = new_key(self._randomness)
            id_ = key.split("_")[1]
            if id_ not in taken:
                return key, id_

    def _replace(self, keys: Iterable[StoredKey]) -> None:
        replace(self._path, msgspec.json.format(msgspec.json.encode(_Content(tuple(keys)))))

    def _by_id(self, content: bytes) -> dict[str, StoredKey]:
        try:
            found = msgspec.json.decode(content, type=_Content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            detail = f"{self._path} cannot be read: {error}"
            raise StoreError(detail, "restore it from a copy, or remove it and make the keys anew") from None
        if found.version != _VERSION:
            detail = f"{self._path} has layout {found.version}, this program reads {_VERSION}"
            raise StoreError(detail, "use the program that wrote it")
        by_id = {key.id: key for key in found.keys}
        if len(by_id) < len(found.keys) or len({key.name for key in found.keys}) < len(found.keys):
            detail = f"{self._path} names a key twice"
            raise StoreError(detail, "take one of them out")
        return by_id


def new_key(randomness: Randomness = os.urandom) -> str:
    """Return a key that nobody can guess."""
    id_ = base64.b32encode(randomness(5)).decode().lower()
    number, digits = int.from_bytes(randomness(32), "big"), ""
    for _ in range(_SECRET_DIGITS):
        number, digit = divmod(number, len(_DIGITS))
        digits += _DIGITS[digit]
    return f"hr_{id_}_{digits}"


def scopes_of(names: Iterable[str]) -> list[Scope]:
    """Return the scopes that are named; `all` names all but `tokens`.

    :raises RejectedError: When there is no such scope.
    """
    chosen: list[Scope] = []
    for name in names:
        if name == ALL:
            chosen += [scope for scope in SCOPES if scope != "tokens"]
        elif name in SCOPES:
            chosen += [scope for scope in SCOPES if scope == name]
        else:
            close = difflib.get_close_matches(name, SCOPES, n=1)
            detail = f"there is no scope {name[:_SHOWN]!r}"
            raise RejectedError(detail, f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(SCOPES)}")
    return list(dict.fromkeys(chosen))


def _check_page_key(key: str) -> None:
    plain = key.isascii() and key.isprintable() and " " not in key
    if not plain or not _LEAST_OF_PAGE <= len(key) <= _LONGEST:
        detail = "the page's key is none that keeps a secret"
        hint = f"leave it out, and one is made; or use {_LEAST_OF_PAGE} to {_LONGEST} random letters and digits"
        raise SettingsError(detail, hint)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _span(days: float) -> int:
    if not (math.isfinite(days) and 0 < days <= _MOST_DAYS):
        detail = f"a key cannot be good for {days:g} days"
        raise RejectedError(detail, f"give a number above 0 and up to {_MOST_DAYS}")
    return max(1, round(days * _DAY))
