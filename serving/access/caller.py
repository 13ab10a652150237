"""Who asks. Every interface makes a `Caller` of what it was sent, and everything is decided by that alone."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from serving.errors import ForbiddenError

Scope = Literal[
    "context", "answer", "search", "profiles", "tables", "kpis", "alerts", "feedback", "freshness", "letters", "tokens"
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a key may be good for. `tokens`: to sign tokens for persons, which is to say who a person is."""

PUBLIC = "public"


class Caller(msgspec.Struct, frozen=True):
    """Who asks.

    :arg key: Name of the application's key.
    :arg key_id: What tells the key from a later one of the same name; empty for one that no file holds.
    :arg audiences: Labels whose documents and tables it may see; `public` is always among them.
    :arg person: Id of the person that it asks for, by a token of that person; empty for nobody. Nothing of any other
        person is to be seen by it.
    :arg realm: The person's realm.
    """

    key: str
    scopes: frozenset[Scope]
    audiences: tuple[str, ...] = (PUBLIC,)
    person: str = ""
    realm: str = ""
    key_id: str = ""

    @property
    def holding(self) -> str:
        """What stands for the key with what belongs to it: nobody inherits it by making a key of the same name."""
        return self.key_id or self.key

    def check(self, scope: Scope) -> None:
        """Check that the caller may do this.

        :raises ForbiddenError: When it may not.
        """
        if scope not in self.scopes:
            detail = f"the key {self.key!r} lacks the scope {scope!r}"
            raise ForbiddenError(detail, f"make one that has: `headrace keys create NAME --scope {scope}`")

    def narrowed(self, audiences: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the labels that a request is answered for: those that it names, all that the caller has by default.

        :raises ForbiddenError: When it names one that the caller has not.
        """
        if audiences is None:
            return self.audiences
        foreign = sorted(set(audiences) - {*self.audiences, PUBLIC})
        if foreign:
            detail = f"not for the audience {foreign[0]!r}"
            raise ForbiddenError(detail, f"the audiences of this caller are: {', '.join(self.audiences)}")
        return tuple(dict.fromkeys(audiences))


def local(person: str = "", realm: str = "", audiences: tuple[str, ...] = (PUBLIC,)) -> Caller:
    """Return the caller at the command line, who can read all files anyway; what is public is for it as well."""
    labels = tuple(dict.fromkeys([PUBLIC, *audiences]))
    return Caller("command line", frozenset(SCOPES), labels, person, realm)
