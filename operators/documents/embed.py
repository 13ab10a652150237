"""Vectors for what is new: one call of the model for a whole batch of updates.

An update that a later one in the batch overtakes is folded into it: its text would be gone again at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Stream, operator

from events.documents import DocumentUpdate

EmbedBytes = Callable[[Sequence[str]], list[bytes]]
"""Texts to vectors, each as float32 little-endian bytes, in order."""


def fold(updates: Iterable[DocumentUpdate]) -> list[DocumentUpdate]:
    """Keep the last update of each document, with everything that is fresh since before the first.

    The order of the first appearances is kept.
    """
    folded: dict[str, DocumentUpdate] = {}
    for update in updates:
        document = update.document.change.document
        earlier = folded.get(document)
        folded[document] = update if earlier is None else _over(earlier, update)
    return list(folded.values())


def _over(earlier: DocumentUpdate, later: DocumentUpdate) -> DocumentUpdate:
    fresh = {*earlier.fresh, *later.fresh}
    kept = tuple(chunk.id for chunk in later.document.chunks if chunk.id in fresh)
    return msgspec.structs.replace(later, fresh=kept, anew=earlier.anew or later.anew)


def with_vectors(updates: Iterable[DocumentUpdate], embed: EmbedBytes) -> list[DocumentUpdate]:
    """Fold `updates` and give each the vectors of its fresh chunks, from one call of `embed`."""
    folded = fold(updates)
    texts: dict[str, str] = {}
    for update in folded:
        fresh = set(update.fresh)
        texts.update((chunk.id, chunk.embedded) for chunk in update.document.chunks if chunk.id in fresh)
    if not texts:
        return folded
    vectors = dict(zip(texts, embed(list(texts.values())), strict=True))
    return [msgspec.structs.replace(update, vectors={id_: vectors[id_] for id_ in update.fresh}) for update in folded]


@operator
def embed(step_id: str, up: Stream[DocumentUpdate], embed_bytes: EmbedBytes) -> Stream[DocumentUpdate]:
    """Attach vectors to the fresh chunks of updates.

    :arg step_id: Unique ID.
    :arg up: Stream.
    :arg embed_bytes: Called with all texts of a batch at once; blocks while the model works.
    :returns: The updates, later ones of a document folded over earlier ones of the same batch.
    """
    return op.flat_map_batch("embed", up, lambda updates: with_vectors(updates, embed_bytes))
