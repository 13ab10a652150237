"""What an interface refuses, in the words that all of them use; each interface has its own way to say it."""

from __future__ import annotations

from events.errors import HeadraceError


class UnknownCallerError(HeadraceError):
    """Whoever asks has not said who they are, or not so that it can be believed."""


class ForbiddenError(HeadraceError):
    """Whoever asks may not see this, or do this. It is not said whether it is there."""


class NotFoundError(HeadraceError):
    """What is asked for is not there."""


class TooLargeError(HeadraceError):
    """What was sent is larger than is taken."""


class TooManyError(HeadraceError):
    """More was asked than is allowed in this time.

    :arg after: Seconds after which to ask again.
    """

    def __init__(self, detail: str, hint: str, after: float) -> None:
        super().__init__(detail, hint)
        self.after = after
