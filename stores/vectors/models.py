"""Which model a vector store is of: vectors of two models are never compared."""

from __future__ import annotations

from events.errors import StoreError
from stores.embedders.base import Model
from stores.vectors.base import Query

REINDEX = "run `headrace reindex`"


def check_model(held: Model, model: Model) -> None:
    """Refuse a model whose vectors cannot be compared with those in the store, which are of `held`.

    :raises StoreError: Naming both.
    """
    if (held.id, held.dimension) != (model.id, model.dimension):
        detail = (
            f"the vector store holds vectors of {held.id} ({held.dimension} numbers), "
            f"not of {model.id} ({model.dimension})"
        )
        raise StoreError(detail, REINDEX)


def check_question(held: Model, model: Model | None, query: Query) -> None:
    """Refuse a question to a store of `held` that is asked with another model.

    :arg model: That of the reader; None: not checked.
    :raises StoreError: Naming both, or the dimensions.
    """
    if model is not None:
        check_model(held, model)
    if query.vector is not None and len(query.vector) != held.dimension:
        detail = (
            f"the question's vector has {len(query.vector)} numbers, those of {held.id} in the "
            f"vector store have {held.dimension}"
        )
        raise StoreError(detail, REINDEX)
