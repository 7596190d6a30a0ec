"""Opens the database that the commands work on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from framematch.core.settings import Settings
from framematch.core.settings_sources import require

if TYPE_CHECKING:
    from framematch.catalog.mongo import Database


@asynccontextmanager
async def open_database(settings: Settings) -> "AsyncIterator[Database]":
    """The catalogue's database, as long as the context lasts.

    Raises:
        AddressNotSetError: mongodb.uri is not set.
        MongoUnavailableError: MongoDB does not answer, or refuses the credentials.
    """
    from framematch.catalog.mongo import connect

    uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    async with await connect(uri, settings.mongodb.timeout_s) as client:
        yield client[settings.mongodb.database]
