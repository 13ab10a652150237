"""Ports are kept for those who are to listen to them."""

from __future__ import annotations

import socket
import sys

import pytest

from serving.cluster.ports import Ports


def listening(port: int) -> socket.socket:
    """Listen as servers do that are not written in C: the address may be used again."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def test_whoever_they_are_for_can_listen_to_them_while_they_are_held() -> None:
    with Ports(3) as ports:
        assert len(set(ports.numbers)) == 3
        assert ports.addresses == ";".join(f"127.0.0.1:{number}" for number in ports.numbers)
        for number in ports.numbers:
            with listening(number), socket.create_connection(("127.0.0.1", number), timeout=10):
                pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port cannot be both held and lent")
def test_the_system_gives_them_to_nobody_else() -> None:
    with Ports(2) as ports:
        given = set()
        for _ in range(500):
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                given.add(other.getsockname()[1])
        assert not given & set(ports.numbers)


def test_they_are_given_back() -> None:
    with Ports(1) as ports:
        (number,) = ports.numbers
    with socket.socket() as other:
        other.bind(("127.0.0.1", number))
