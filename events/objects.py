"""What a notification of object storage says: something happened to one object."""

from __future__ import annotations

from typing import Literal

import msgspec


class ObjectEvent(msgspec.Struct, frozen=True):
    """One object was written or removed.

    :arg bucket: Its bucket.
    :arg key: Its key, as the storage has it: no encoding left in it.
    :arg op: What happened to it. Of a versioned object one version may be gone, and the object still be there.
    :arg time: When, in milliseconds since 1970-01-01 UTC; None if that was not said.
    :arg sequencer: Hexadecimal number by which events of one key are ordered; empty where there is none to rely on.
    """

    bucket: str
    key: str
    op: Literal["written", "removed"]
    time: int | None = None
    sequencer: str = ""
