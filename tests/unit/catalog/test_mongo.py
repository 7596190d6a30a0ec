"""Connecting to MongoDB."""

import asyncio
from types import SimpleNamespace

import pytest

from framematch.catalog.mongo import connect


async def test_a_connection_whose_opening_is_cancelled_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = asyncio.Event()

    class Silent:
        """A client whose server takes a ping and never answers it."""

        def __init__(self, _uri: str, **_options: object) -> None:
            self.admin = SimpleNamespace(command=lambda _name: asyncio.Event().wait())

        async def close(self) -> None:
            closed.set()

    monkeypatch.setattr("framematch.catalog.mongo.AsyncMongoClient", Silent)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connect("mongodb://127.0.0.1"), 0.01)
    assert closed.is_set()
