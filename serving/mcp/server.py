"""The protocol's server: lists to a caller what it may call, calls it, and tells what went wrong in words.

Who calls is asked for at each request anew, never remembered from another one. Nothing that a tool meets breaks the
connection, and no traceback leaves the process.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)
from pydantic import BaseModel

from events.context import Context
from events.errors import HeadraceError
from serving.access.caller import Caller
from serving.http.logs import Trail, log_bug
from serving.mcp import telling
from serving.mcp.arguments import read
from serving.mcp.tools import INSTRUCTIONS, ToolSpec, all_tools, waits
from serving.service import Service

Asked = ServerRequestContext[Any, Any]
Run = Callable[[bool, Callable[[], Any]], Awaitable[Any]]
"""Runs a call that blocks, in a thread; the first argument tells whether it may wait for a store."""

_TABLE = "headrace://tables/"
_DROPPED = frozenset({"title", "examples"})


def build_server(
    service: Service,
    who: Callable[[Asked], Caller],
    run: Run,
    *,
    noted: Callable[[Context], None] = lambda context: None,
    read_only: bool = False,
) -> Server[Any]:
    """Return the server.

    :arg who: Tells of a request whose it is; may refuse it with a HeadraceError.
    :arg noted: Called with each context that was served.
    """
    desk = _Desk(service, who, run, noted, all_tools(read_only=read_only))
    # A refusal has been told to whoever called; what the library would add may hold what was sent.
    logging.getLogger("mcp").setLevel(logging.ERROR)
    return Server(
        "headrace",
        title="Headrace",
        version=_version(),
        instructions=INSTRUCTIONS,
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
        on_list_resources=desk.list_resources,
        on_read_resource=desk.read_resource,
        # No argument comes in a header: nothing is to be looked up for it before the caller is known.
        get_tool_input_schema=lambda name: None,
    )


class _Desk:
    def __init__(
        self,
        service: Service,
        who: Callable[[Asked], Caller],
        run: Run,
        noted: Callable[[Context], None],
        tools: dict[str, ToolSpec],
    ) -> None:
        self._service = service
        self._who = who
        self._run = run
        self._noted = noted
        self._tools = tools

    async def list_tools(self, asked: Asked, params: PaginatedRequestParams | None) -> ListToolsResult:
        del params
        caller = self._caller(asked)
        shown = [spec for spec in self._tools.values() if spec.scope in caller.scopes]
        tables = telling.described(await self._tables(caller)) if "tables" in caller.scopes else ""
        return ListToolsResult(
            tools=[_tool(spec, tables if spec.scope == "tables" else "") for spec in shown],
        )

    async def call_tool(self, asked: Asked, params: CallToolRequestParams) -> CallToolResult:
        spec = self._tools.get(params.name)
        if spec is None:
            message = f"There is no tool of this name. There are: {', '.join(self._tools)}."
            raise MCPError(INVALID_PARAMS, message)
        try:
            caller = self._who(asked)
            caller.check(spec.scope)
            given = read(spec.takes, params.arguments)
            told = await self._run(waits(given), lambda: spec.call(self._service, caller, given))
        except HeadraceError as error:
            return _failed(telling.refused(error))
        except Exception as error:  # a bug: the connection goes on, and what happened is for the log only
            return _failed(_bug(error, spec.name))
        if told.served is not None:
            self._noted(told.served.context)
        return CallToolResult(content=[TextContent(type="text", text=told.text)], structured_content=told.data)

    async def list_resources(self, asked: Asked, params: PaginatedRequestParams | None) -> ListResourcesResult:
        del params
        return ListResourcesResult(
            resources=[
                Resource(
                    uri=_TABLE + table["name"],
                    name=table["name"],
                    title=f"Columns of the live table {table['name']}",
                    description="Its columns and their kinds, for `query_table`.",
                    mime_type="application/json",
                )
                for table in await self._tables(self._caller(asked))
            ]
        )

    async def read_resource(self, asked: Asked, params: ReadResourceRequestParams) -> ReadResourceResult:
        for table in await self._tables(self._caller(asked)):
            if params.uri == _TABLE + table["name"]:
                text = json.dumps(table, ensure_ascii=False)
                content = TextResourceContents(uri=params.uri, mime_type="application/json", text=text)
                return ReadResourceResult(contents=[content])
        raise MCPError(INVALID_PARAMS, "There is no such resource for this caller.")

    def _caller(self, asked: Asked) -> Caller:
        try:
            return self._who(asked)
        except HeadraceError as error:
            raise MCPError(INVALID_PARAMS, telling.refused(error)) from None

    async def _tables(self, caller: Caller) -> list[dict[str, Any]]:
        """Return the live tables that the caller may read; none where they cannot be looked up."""
        if "tables" not in caller.scopes:
            return []
        try:
            found: list[dict[str, Any]] = await self._run(False, lambda: self._service.tables(caller))
        except HeadraceError:
            return []
        except Exception as error:
            raise MCPError(INVALID_PARAMS, _bug(error, "tables")) from None
        return found


def _tool(spec: ToolSpec, beside: str) -> Tool:
    return Tool(
        name=spec.name,
        title=spec.title,
        description=f"{spec.about}\n\n{beside}" if beside else spec.about,
        input_schema=_schema(spec.takes),
        output_schema=_schema(spec.gives),
        annotations=ToolAnnotations(
            title=spec.title,
            read_only_hint=not spec.writes,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _bug(error: Exception, name: str) -> str:
    trail = Trail(secrets.token_hex(8))
    trail.route = f"mcp {name}"
    log_bug(error, trail)
    return (
        f"Something went wrong that should not have; the server's log tells it, request {trail.id}. Go on without it."
    )


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = _plain(model.model_json_schema(mode="serialization"), named=False)
    return {**found, "type": "object", "properties": found.get("properties", {})}


def _plain(schema: Any, *, named: bool) -> Any:
    """Return a schema without what says nothing; where names are given, none of them is taken for a keyword."""
    if isinstance(schema, list):
        return [_plain(one, named=False) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _plain(value, named=not named and name in {"properties", "$defs"})
        for name, value in schema.items()
        if named or name not in _DROPPED
    }


def _version() -> str:
    try:
        return version("headrace")
    except PackageNotFoundError:
        return "0"
