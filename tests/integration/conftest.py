"""Fixtures for one real server."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from framematch.catalog.mongo import Database, connect
from framematch.stack.mongodb import MongoServer
from tests.conftest import running
from tests.integration.s3_server import S3Server


@pytest.fixture
async def database(mongodb: MongoServer) -> AsyncIterator[Database]:
    """An empty database of its own, which is dropped."""
    name = f"test_{uuid.uuid4().hex}"
    async with await connect(mongodb.uri) as client:
        yield client[name]
        await client.drop_database(name)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3-compatible server without buckets; use unique names."""
    with running(S3Server(tmp_path_factory.mktemp("s3"))) as server:
        yield server
