"""Connects to MongoDB, and translates its driver's errors."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from bson.errors import BSONError
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, ConnectionFailure, InvalidURI, OperationFailure, PyMongoError

from framematch.core.errors import CatalogError, MongoUnavailableError, SettingsError
from framematch.core.redact import redact_url
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.core.units import MS_PER_S

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Client = AsyncMongoClient[Document]

# For a server that accepts a connection and then hangs; single operations take milliseconds.
SOCKET_TIMEOUT_S = 30.0
_UNAUTHORIZED = {13, 18}  # the error codes Unauthorized and AuthenticationFailed


async def connect(uri: str, timeout_s: float = 5.0) -> Client:
    """Connect and ping the server; the caller closes the client (`async with` does).

    Raises:
        SettingsError: the URI is no MongoDB address.
        MongoUnavailableError: no server answered within `timeout_s`, or it refused the credentials.
    """
    try:
        client: Client = AsyncMongoClient(
            uri,
            appname="framematch",
            tz_aware=True,
            # Other programs may write here too: a date of the year 10,000 or a text that is not UTF-8 is no error of
            # the whole query.
            datetime_conversion="DATETIME_AUTO",
            unicode_decode_error_handler="replace",
            serverSelectionTimeoutMS=int(timeout_s * MS_PER_S),
            connectTimeoutMS=int(timeout_s * MS_PER_S),
            socketTimeoutMS=int(max(timeout_s, SOCKET_TIMEOUT_S) * MS_PER_S),
        )
    except (InvalidURI, ConfigurationError, ValueError):
        # The driver's message may quote the URI, so it is not shown.
        raise SettingsError(
            "mongodb.uri is not a valid MongoDB address",
            hint="Write mongodb://user:password@host:27017, with special characters escaped (%40 for @)",
        ) from None
    try:
        await client.admin.command("ping")
    except BaseException as error:
        await client.close()
        if not isinstance(error, PyMongoError):
            raise
        refused = isinstance(error, OperationFailure) and error.code in _UNAUTHORIZED
        what = "refuses these credentials" if refused else f"does not answer within {timeout_s:g} s"
        hint = "Check user, password and authSource" if refused else "Check the address"
        raise MongoUnavailableError(
            f"MongoDB at {redact_url(uri)} {what}", hint=hint, unreachable=not refused
        ) from None
    return client


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of the settings, as long as the context lasts.

    Raises:
        AddressNotSetError: mongodb.uri is not set.
        MongoUnavailableError: MongoDB does not answer, or refuses the credentials.
    """
    uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    async with await connect(uri, settings.mongodb.timeout_s) as client:
        yield client[settings.mongodb.database]


@contextmanager
def mongo_errors(doing: str) -> Iterator[None]:
    """Translate the driver's errors; `doing` completes "while …" in the message.

    Raises:
        MongoUnavailableError: the connection failed, or the server did not answer in time.
        CatalogError: the server refused the operation, or sent a document that is not BSON.
    """
    try:
        yield
    except BSONError as error:
        raise CatalogError(f"MongoDB sent a document that cannot be read while {doing}: {error}") from error
    except PyMongoError as error:
        if isinstance(error, ConnectionFailure) or error.timeout:
            raise MongoUnavailableError(
                f"MongoDB became unavailable while {doing}", hint="Check that it runs"
            ) from error
        raise CatalogError(f"MongoDB refused while {doing}: {redact_url(str(error))}") from error
