"""The retrievers within the real frameworks: items of a context as their documents, each with its age and origin."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnablePassthrough
from llama_index.core.schema import MetadataMode

from serving.client import AsyncClient, Client
from serving.client.errors import StaleError
from serving.retrievers.langchain import HeadraceRetriever as ForLangChain
from serving.retrievers.llama_index import HeadraceRetriever as ForLlamaIndex
from tests.serving.client.running import Running
from tests.serving.http.world import World, fill, settings_of
from tests.serving.persons_sample import ANNA

ASK = "Is CV 214 on time, and may I bring a bicycle?"
ROOT = Path(__file__).parents[2]
SAID = {"source", "place", "position", "as_of", "age_ms", "lag_ms", "stale", "score", "number", "kind", "context"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("retrievers")
    fill(settings_of(path))
    world = World(path, wait_seconds=0)
    found = Running(world)
    yield found
    found.stop()
    world.service.close()


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.url, running.world.key) as found:
        yield found


def test_langchain_gets_the_items_of_a_context_as_documents(client: Client) -> None:
    found = ForLangChain(client=client).invoke(ASK)
    (context,) = {document.metadata["context"] for document in found}
    items = client.kept(context).items
    assert [document.page_content for document in found] == [item.text for item in items]
    assert [document.id for document in found] == [item.id for item in items]
    for document, item in zip(found, items, strict=True):
        assert document.metadata.keys() >= SAID
        assert (document.metadata["age_ms"], document.metadata["as_of"]) == (item.age_ms, item.as_of)


def test_langchain_takes_kinds_and_options_and_works_within_a_chain(client: Client, running: Running) -> None:
    options = {"person_token": running.world.anna, "chunks": 0}
    retriever = ForLangChain(client=client, kinds=("profile", "row"), options=options)
    found = retriever.invoke(ASK)
    assert {document.metadata["kind"] for document in found} == {"profile", "row"}
    assert client.kept(found[0].metadata["context"], person_token=running.world.anna).person == ANNA
    chain = {"known": retriever, "asked": RunnablePassthrough()} | PromptTemplate.from_template("{known}\n{asked}")
    assert "CV 214 is delayed" in chain.invoke(ASK).to_string()


def test_langchain_awaits_by_the_awaited_client_or_in_a_thread(client: Client, running: Running) -> None:
    async def use() -> tuple[int, int]:
        async with AsyncClient(running.url, running.world.key) as awaited:
            one = await ForLangChain(client=client, async_client=awaited).ainvoke(ASK)
            other = await ForLangChain(client=client).ainvoke(ASK)
            return len(one), len(other)

    one, other = asyncio.run(use())
    assert one == other > 0


def test_llama_index_gets_nodes_with_scores_and_shows_a_model_what_it_can_use(client: Client) -> None:
    found = ForLlamaIndex(client).retrieve(ASK)
    items = client.kept(found[0].node.metadata["context"]).items
    assert [(node.node_id, node.score, node.text) for node in found] == [
        (item.id, item.score, item.text) for item in items
    ]
    assert all(node.node.metadata.keys() >= SAID for node in found)
    shown = found[0].node.get_content(MetadataMode.LLM)
    assert f"as_of: {items[0].as_of}" in shown
    assert "position" not in shown
    assert found[0].node.get_content(MetadataMode.EMBED) == items[0].text


def test_llama_index_awaits_by_the_awaited_client_or_in_a_thread(client: Client, running: Running) -> None:
    async def use() -> tuple[int, int]:
        async with AsyncClient(running.url, running.world.key) as awaited:
            one = await ForLlamaIndex(client, awaited, kinds=("chunk",)).aretrieve(ASK)
            other = await ForLlamaIndex(client, kinds=("chunk",)).aretrieve(ASK)
            return len(one), len(other)

    one, other = asyncio.run(use())
    assert one == other > 0


def test_errors_pass_through_as_they_are(client: Client) -> None:
    stale = {"max_age_ms": 0, "wait_seconds": 0}
    with pytest.raises(StaleError):
        ForLangChain(client=client, options=stale).invoke(ASK)
    with pytest.raises(StaleError):
        ForLlamaIndex(client, options=stale).retrieve(ASK)


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("langchain", "langchain_core", "langchain"), ("llama_index", "llama_index", "llamaindex")],
)
def test_without_the_framework_the_error_is_the_command_that_brings_it(module: str, package: str, extra: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; import serving.retrievers.{module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"pip install 'headrace[{extra}]'" in done.stderr.splitlines()[-1]
