"""A port stays reserved for its server, also while that server is down."""

import socket

import pytest

from framematch.stack.server import LOOPBACK, ReservedPort, listens


def test_a_reserved_port_refuses_connections_until_its_server_listens() -> None:
    port = ReservedPort()
    for _ in ("at first", "after a stop"):
        assert not listens(port.address)
        with socket.create_server((LOOPBACK, port.number)):
            assert listens(port.address)


def test_a_reserved_port_is_in_use_for_sockets_without_reuseaddr() -> None:
    port = ReservedPort()
    with socket.socket() as stranger:
        with pytest.raises(OSError, match="in use"):
            stranger.bind((LOOPBACK, port.number))
        port.release()
        stranger.bind((LOOPBACK, port.number))


def test_a_port_is_freed_with_its_object() -> None:
    port = ReservedPort()
    number = port.number
    del port
    with socket.socket() as stranger:
        stranger.bind((LOOPBACK, number))
