"""A file on its way into a bucket: written to the disk first, so that its size costs no memory."""

from __future__ import annotations

import base64
import gzip
import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, NamedTuple

_PIECE = 2**20


class Body(NamedTuple):
    """What is to be put. `md5` is base64, as the header Content-MD5 has it: the storage checks what it gets."""

    file: IO[bytes]
    size: int
    md5: str
    lines: int


@contextmanager
def write_body(lines: Iterable[bytes], compression: Literal["none", "gzip"], folder: Path) -> Iterator[Body]:
    """Write lines into a file without a name in `folder`, gone after the block. The same lines make the same bytes.

    :raises OSError: When the disk does not take it.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        count = 0
        if compression == "gzip":
            # Neither name nor time in its head: they would make other bytes of the same lines.
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                for line in lines:
                    packed.write(line)
                    count += 1
        else:
            for line in lines:
                file.write(line)
                count += 1
        size = file.tell()
        file.seek(0)
        digest = hashlib.md5(usedforsecurity=False)
        while piece := file.read(_PIECE):
            digest.update(piece)
        file.seek(0)
        yield Body(file, size, base64.b64encode(digest.digest()).decode(), count)
