"""What a database says about its own tables and types, and how far the stream of its changes has been decoded.

Taps (stores) know connections, slots and the catalog; decoders (operators) know what the bytes mean. Neither imports
the other: these are the words between them.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Column(msgspec.Struct, frozen=True):
    """A column of a table as PostgreSQL's catalog has it.

    :arg type: Object id of its type.
    :arg modifier: Its type modifier (`atttypmod`), -1 for none.
    """

    name: str
    type: int
    modifier: int = -1


class Relation(msgspec.Struct, frozen=True):
    """A table.

    :arg oid: Its object id.
    :arg columns: In the table's order, those that are published only: no generated ones (`attgenerated`).
    :arg key: Columns of the unique index that is its replica identity, if it has one (REPLICA IDENTITY USING INDEX: of
        deleted rows the server then sends no others), else of its primary key; none if it has neither.
    """

    oid: int
    schema: str
    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]


class TypeInfo(msgspec.Struct, frozen=True):
    """A type, with domains taken back to what they are of.

    :arg name: `pg_type.typname` of the type itself, or of what it is a domain of; empty if the type is gone.
    :arg base: Object id of the type that it is a domain of, else its own.
    :arg element: Object id of the type of an array's elements (`typelem` where `typcategory` is `A`); 0 if it is no
        array.
    :arg enum: Whether it is an enum.
    """

    name: str
    base: int
    element: int = 0
    enum: bool = False


class Catalog(Protocol):
    """What the database says about itself."""

    @property
    def database(self) -> str:
        """Its name."""

    def key_of(self, relation: int, schema: str, table: str) -> tuple[str, ...]:
        """Return the columns of `Relation.key`, as they are by now.

        Asked for REPLICA IDENTITY FULL and NOTHING only: else the stream itself says the columns.
        """

    def type_of(self, oid: int) -> TypeInfo:
        """Return what is known of a type. Never raises for one that is gone: its values stay texts."""


class Progress(msgspec.Struct, frozen=True):
    """How far the stream has been decoded.

    :arg end: Behind the last transaction that was decoded whole: all before it may be confirmed. 0 before the first.
    :arg commit: LSN of the commit of the transaction that is under way; 0 between two of them.
    :arg index: How many changes of that transaction have been decoded.
    :arg committed_at: When the newest transaction was committed (ms since epoch); None before the first.
    """

    end: int = 0
    commit: int = 0
    index: int = 0
    committed_at: int | None = None
