"""Opens the database that the commands work on; its driver is imported then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.catalog.mongo import Database


@asynccontextmanager
async def open_database(settings: Settings) -> "AsyncIterator[Database]":
    """The catalogue's database, as long as the context lasts; raises as `framematch.catalog.mongo.open_database`."""
    from framematch.catalog import mongo

    async with mongo.open_database(settings) as database:
        yield database
