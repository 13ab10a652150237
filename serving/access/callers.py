"""Who asks, by the two headers that every interface over HTTP takes.

What is malformed is refused in the same words as what is wrong, and neither is ever quoted.
"""

from __future__ import annotations

import re

from serving.access.caller import PUBLIC, Caller
from serving.access.keys import Keys
from serving.access.tokens import Tokens
from serving.errors import UnknownCallerError

_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)
_LONGEST = 1024
_HOW = "send `Authorization: Bearer hr_…`; `headrace keys create NAME --scope context` makes a key"


def caller_of(keys: Keys, tokens: Tokens, authorization: str, person_token: str = "") -> Caller:
    """Return who asks.

    With a person's token the labels are the token's, which were at most those of the key that it was signed with; else
    they are the key's.

    :arg authorization: The header `Authorization`, empty if there was none.
    :arg person_token: The header `Headrace-Person`, empty if there was none.
    :raises UnknownCallerError: When it cannot be believed.
    """
    if not authorization:
        detail = "no key was given"
        raise UnknownCallerError(detail, _HOW)
    given = _BEARER.fullmatch(authorization) if len(authorization) <= _LONGEST else None
    key = keys.find(given[1]) if given else None
    if key is None:
        detail = "the key is not known, or not good any more"
        raise UnknownCallerError(detail, _HOW)
    scopes = frozenset(key.scopes)
    if not person_token:
        return Caller(key.name, scopes, _with_public(key.audiences), key_id=key.id)
    claims = tokens.read(person_token)
    return Caller(key.name, scopes, _with_public(claims.audiences), claims.person, claims.realm, key.id)


def _with_public(audiences: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((PUBLIC, *audiences)))
