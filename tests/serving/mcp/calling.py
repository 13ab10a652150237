"""Tools called over HTTP with the protocol's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

_SECONDS = 60


@asynccontextmanager
async def connected(url: str, key: str, person_token: str = "", mode: Any = "auto") -> AsyncIterator[Client]:
    """Connect to a server as an application, for a person if a token is given.

    :arg url: Address of the protocol, such as `http://127.0.0.1:8080/mcp`.
    :arg mode: How the version of the protocol is agreed on, as of `mcp.Client`.
    """
    headers = {"Authorization": f"Bearer {key}"} | ({"Headrace-Person": person_token} if person_token else {})
    async with (
        httpx2.AsyncClient(headers=headers, timeout=_SECONDS) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, read_timeout_seconds=_SECONDS) as client,
    ):
        yield client


async def call(url: str, key: str, person_token: str, tool_name: str, arguments: dict[str, Any]) -> Any:
    """Call one tool; return what it says as structured data."""
    async with connected(url, key, person_token) as client:
        result = await client.call_tool(tool_name, arguments)
    assert not result.is_error, text_of(result)
    return result.structured_content


def text_of(result: CallToolResult) -> str:
    """Return what a tool says as text."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))
