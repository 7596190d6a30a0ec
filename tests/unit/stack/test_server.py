"""A port is kept for the server that will listen on it, also while that server is down."""

import socket

import pytest

from stack.server import LOOPBACK, ReservedPort, listens


def test_a_reserved_port_refuses_connections_until_its_server_listens() -> None:
    port = ReservedPort()
    for _ in ("at first", "after a stop"):
        assert not listens(port.address)
        with socket.create_server((LOOPBACK, port.number)):
            assert listens(port.address)


def test_a_reserved_port_is_taken_for_everyone_who_does_not_share_addresses() -> None:
    port = ReservedPort()
    with socket.socket() as stranger:
        with pytest.raises(OSError, match="in use"):
            stranger.bind((LOOPBACK, port.number))
        port.release()
        stranger.bind((LOOPBACK, port.number))


def test_a_port_is_given_back_with_the_object_that_holds_it() -> None:
    port = ReservedPort()
    number = port.number
    del port
    with socket.socket() as stranger:
        stranger.bind((LOOPBACK, number))
