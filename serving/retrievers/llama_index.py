"""A retriever for LlamaIndex: the items of a context as its nodes, most useful first, each with its age.

Needs the extra `llamaindex`.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from typing_extensions import override

from events.errors import MissingExtraError
from serving.client import AsyncClient, Client
from serving.client.documents import Context
from serving.retrievers.found import chosen, metadata

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ImportError:
    package = "llama_index.core"
    raise MissingExtraError(package, "llamaindex") from None

_FOR_MODELS = frozenset({"source", "title", "as_of", "stale", "superseded", "warning"})


class HeadraceRetriever(BaseRetriever):
    """Retrieves what a server knows of a question.

    :arg client: Asks the server.
    :arg async_client: Asks it where it is awaited; without one `client` is asked in a thread.
    :arg kinds: Only items of these kinds, such as `("chunk", "row")`.
    :arg options: What else `Client.context` takes: `budget_tokens`, `max_age_ms`, `tables`, `person_token`, …
    """

    def __init__(
        self,
        client: Client,
        async_client: AsyncClient | None = None,
        *,
        kinds: tuple[str, ...] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._client = client
        self._async_client = async_client
        self._kinds = kinds
        self._options = dict(options or {})

    @override
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes(self._client.context(query_bundle.query_str, **self._options))

    @override
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._async_client is None:
            ask = partial(self._client.context, query_bundle.query_str, **self._options)
            return self._nodes(await asyncio.to_thread(ask))
        return self._nodes(await self._async_client.context(query_bundle.query_str, **self._options))

    def _nodes(self, context: Context) -> list[NodeWithScore]:
        found = []
        for item in chosen(context, self._kinds):
            said = metadata(context, item)
            hidden = [name for name in said if name not in _FOR_MODELS]
            node = TextNode(
                id_=item.id,
                text=item.text,
                metadata=said,
                # A model is to read what it can use; a vector of a text is not to depend on its age.
                excluded_llm_metadata_keys=hidden,
                excluded_embed_metadata_keys=list(said),
            )
            found.append(NodeWithScore(node=node, score=item.score))
        return found
