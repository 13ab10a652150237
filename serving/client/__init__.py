"""The Python client of the HTTP interface: `Client` blocks, `AsyncClient` is awaited."""

from serving.client.client import AsyncClient, Client
from serving.client.errors import ClientError

__all__ = ["AsyncClient", "Client", "ClientError"]
