"""The error root: every error that a user may meet says what is wrong and what to do about it."""

from __future__ import annotations

EXPLAINED = 3
"""Exit code of a process that has said in one line what stopped it."""
PASSING = 75
"""Exit code of one that has said so, and may go on by itself when it is started again (EX_TEMPFAIL of sysexits.h)."""


class HeadraceError(Exception):
    """Root of all errors that Headrace raises on purpose.

    :arg detail: What is wrong, in one line, naming the thing.
    :arg hint: What to do now, in one line; may be empty.
    """

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.detail} ({self.hint})" if self.hint else self.detail

    def __reduce__(self) -> tuple[object, ...]:
        # Subclasses take other arguments: travel between processes as the root, words intact.
        return (HeadraceError, (self.detail, self.hint))


class SettingsError(HeadraceError):
    """A setting is unknown or has a wrong value."""


class MissingExtraError(HeadraceError):
    """A package that only some users need is not installed.

    :arg package: The module that could not be imported.
    :arg extra: The extra of this distribution that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed",
            f"pip install 'headrace[{extra}]'",
        )


class StoreError(HeadraceError):
    """A store is locked, damaged, or does not belong to what wants to use it."""


class UnreachableError(StoreError):
    """A server is away, or the connection to it; it may come back without anybody's doing."""


class RejectedError(HeadraceError):
    """An event cannot be processed. It becomes a dead letter with this error as the reason."""
