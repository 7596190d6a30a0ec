"""Fixtures for one real server."""

import uuid
from collections.abc import AsyncIterator

import pytest

from framematch.catalog.mongo import Database, connect
from framematch.stack.mongodb import MongoServer


@pytest.fixture
async def database(mongodb: MongoServer) -> AsyncIterator[Database]:
    """An empty database of its own, which is dropped."""
    name = f"test_{uuid.uuid4().hex}"
    async with await connect(mongodb.uri) as client:
        yield client[name]
        await client.drop_database(name)
