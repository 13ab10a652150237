"""Tokens of persons: for some minutes, whoever holds one may ask for what is that person's.

A token is a JWT (RFC 7519) signed with HMAC-SHA256, and nothing else is one: what its header says of algorithms is
never believed. What it claims is looked at only after its signature, and at the time of the clock that is passed in.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

import jwt
import msgspec

from events.clock import Clock
from events.errors import RejectedError, StoreError
from serving.access.keys import Randomness
from serving.access.labels import MOST_LABELS, checked_labels, is_label
from serving.access.private_file import Followed, alone, replace
from serving.errors import UnknownCallerError
from stores.settings import Settings

LONGEST = 4096
"""Characters of a token: with the key it fits into the headers that servers take."""

_ISSUER = "headrace"
_ALGORITHM = "HS256"
_LEEWAY = 2000
"""Milliseconds by which the clocks of two servers may differ: a token may be from so far in the future."""

_LONGEST_ID = 200
_SECRET_BYTES = 32
_OTHERS = 0o077
_SECRET = re.compile(rb"\s*([0-9a-f]{64})\s*")
# The last digit stands for four bits only. With the others zero, there is one way to write a signature.
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_REMEDY = "ask the application for another one: POST /tokens or `headrace token` signs it"


class Signed(NamedTuple):
    """A token, and from when on (ms since epoch) it is not good any more."""

    token: str
    expires_at: int


class Claims(NamedTuple):
    """Who a token is for, by which labels, and until when (ms since epoch)."""

    person: str
    realm: str
    audiences: tuple[str, ...]
    expires_at: int


class _Payload(msgspec.Struct, frozen=True):
    """What is signed. Times are in seconds since 1970-01-01 UTC."""

    iss: str
    sub: str
    realm: str
    audiences: tuple[str, ...]
    iat: int
    nbf: int
    exp: int
    jti: str


class Tokens:
    """Signs and reads tokens. Threads and processes may share the secret.

    :arg settings: The secret, where it is kept if it is made here, and how long a token is good.
    """

    def __init__(self, settings: Settings, clock: Clock, randomness: Randomness = os.urandom) -> None:
        secret = settings.serving.secret
        self._secret = None if secret is None else secret.get_secret_value().encode()
        self._path = settings.secret_path
        self._kept = Followed(self._path, self._read_secret, closed=_OTHERS)
        self._minutes = settings.serving.token_minutes
        self._clock = clock
        self._randomness = randomness
        self._jws = jwt.PyJWS(algorithms=[_ALGORITHM])

    def sign(self, person: str, realm: str, audiences: Iterable[str] = (), minutes: float | None = None) -> Signed:
        """Sign a token for a person; who it is, and that the labels may be given, is the caller's to make sure of.

        :arg minutes: How long it is good; None: as long as the settings allow.
        :raises RejectedError: When that is longer than the settings allow, or no time, or a label is none.
        :raises StoreError: When there is no secret and none can be made.
        """
        if not person or len(person) > _LONGEST_ID or len(realm) > _LONGEST_ID:
            detail = "a token is for one person"
            raise RejectedError(detail, "name the person by id")
        begin = self._clock() // 1000
        end = begin + self._seconds(self._minutes if minutes is None else self._checked(minutes))
        payload = _Payload(
            _ISSUER, person, realm, checked_labels(audiences), begin, begin, end, self._randomness(12).hex()
        )
        token = self._jws.encode(msgspec.json.encode(payload), self._secret_to_sign(), algorithm=_ALGORITHM)
        if len(token) > LONGEST:
            detail = f"the token would be too long: {len(payload.audiences)} audience labels"
            raise RejectedError(detail, "name fewer of them")
        return Signed(token, end * 1000)

    def read(self, token: str) -> Claims:
        """Return what a token says.

        :raises UnknownCallerError: When it is none, or not good any more, or not yet.
        :raises StoreError: When the secret cannot be read.
        """
        payload = self._payload(token)
        now = self._clock()
        if payload.exp * 1000 <= now:
            detail = "the person's token is not good any more"
            raise UnknownCallerError(detail, _REMEDY)
        if max(payload.nbf, payload.iat) * 1000 > now + _LEEWAY:
            detail = "the person's token is not good yet"
            raise UnknownCallerError(detail, "set the clocks of the machines that sign and read tokens alike")
        if payload.exp - payload.iat > self._seconds(self._minutes):
            detail = f"the person's token is good for longer than {self._minutes:g} minutes"
            raise UnknownCallerError(detail, "tokens are signed for at most serving.token_minutes")
        return Claims(payload.sub, payload.realm, payload.audiences, payload.exp * 1000)

    def _payload(self, token: str) -> _Payload:
        secret = self._secret or self._kept.get()
        if secret is None or len(token) > LONGEST or not _TOKEN.fullmatch(token):
            raise _forged()
        try:
            content = self._jws.decode(token, secret, algorithms=[_ALGORITHM])
            payload = msgspec.json.decode(content, type=_Payload)
        # A header may be nested deeper than its reader goes.
        except (jwt.PyJWTError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _forged() from None
        named = payload.iss == _ISSUER and 0 < len(payload.sub) <= _LONGEST_ID and len(payload.realm) <= _LONGEST_ID
        if not named or len(payload.audiences) > MOST_LABELS or not all(map(is_label, payload.audiences)):
            raise _forged()
        return payload

    def _checked(self, minutes: float) -> float:
        if not (math.isfinite(minutes) and 0 < minutes <= self._minutes):
            detail = f"a token cannot be good for {minutes:g} minutes"
            raise RejectedError(detail, f"give a number above 0 and up to {self._minutes:g}; see serving.token_minutes")
        return minutes

    def _seconds(self, minutes: float) -> int:
        return max(1, int(minutes * 60))

    def _secret_to_sign(self) -> bytes:
        found = self._secret or self._kept.get()
        if found is not None:
            return found
        with alone(self._path):
            # Another process may have been first.
            if self._kept.get() is None:
                replace(self._path, self._randomness(_SECRET_BYTES).hex().encode() + b"\n")
            found = self._kept.get()
        if found is None:
            detail = f"{self._path} is gone again"
            raise StoreError(detail, "leave it where it is: it signs persons' tokens")
        return found

    def _read_secret(self, content: bytes) -> bytes:
        found = _SECRET.fullmatch(content)
        if found is None:
            detail = f"{self._path} is not the secret that was made for it"
            raise StoreError(detail, "remove it, and another one is made; tokens that are out end with it")
        return bytes.fromhex(found[1].decode())


def _forged() -> UnknownCallerError:
    detail = "the person's token is none that was signed here"
    return UnknownCallerError(detail, _REMEDY)
