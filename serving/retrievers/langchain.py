"""A retriever for LangChain: the items of a context as its documents, most useful first, each with its age.

Needs the extra `langchain`.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from events.errors import MissingExtraError
from serving.client import AsyncClient, Client
from serving.client.documents import Context
from serving.retrievers.found import chosen, metadata

try:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import run_in_executor
except ImportError:
    package = "langchain_core"
    raise MissingExtraError(package, "langchain") from None


class HeadraceRetriever(BaseRetriever):
    """Retrieves what a server knows of a question.

    :arg client: Asks the server.
    :arg async_client: Asks it where it is awaited; without one `client` is asked in a thread.
    :arg kinds: Only items of these kinds, such as `("chunk", "row")`.
    :arg options: What else `Client.context` takes: `budget_tokens`, `max_age_ms`, `tables`, `person_token`, …
    """

    client: Client
    async_client: AsyncClient | None = None
    kinds: tuple[str, ...] | None = None
    options: dict[str, Any] = {}

    @override
    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return self._documents(self.client.context(query, **self.options))

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        if self.async_client is None:
            return self._documents(await run_in_executor(None, self.client.context, query, **self.options))
        return self._documents(await self.async_client.context(query, **self.options))

    def _documents(self, context: Context) -> list[Document]:
        return [
            # Of metadata a model sees nothing, unless somebody puts it into the prompt.
            Document(
                page_content="\n".join(filter(None, (item.text, item.warning))),
                metadata=metadata(context, item),
                id=item.id,
            )
            for item in chosen(context, self.kinds)
        ]
