"""Connects to MongoDB, and turns its driver's errors into ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, ConnectionFailure, InvalidURI, OperationFailure, PyMongoError

from framematch.core.errors import CatalogError, MongoUnavailableError, SettingsError
from framematch.core.redact import redact_url

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Client = AsyncMongoClient[Document]

# A server that accepts a connection and then hangs is given up after this; single operations here take milliseconds.
SOCKET_TIMEOUT_S = 30.0
_UNAUTHORIZED = {13, 18}  # MongoDB's error codes Unauthorized and AuthenticationFailed


async def connect(uri: str, timeout_s: float = 5.0) -> Client:
    """A client whose server has answered a ping; the caller closes it (`async with` does).

    Raises:
        SettingsError: the URI is not one of MongoDB's.
        MongoUnavailableError: no server answered within `timeout_s`, or it refuses the credentials.
    """
    try:
        client: Client = AsyncMongoClient(
            uri,
            appname="framematch",
            tz_aware=True,
            serverSelectionTimeoutMS=int(timeout_s * 1000),
            connectTimeoutMS=int(timeout_s * 1000),
            socketTimeoutMS=int(max(timeout_s, SOCKET_TIMEOUT_S) * 1000),
        )
    except (InvalidURI, ConfigurationError, ValueError):
        # The driver's own words may quote the URI, so they are not passed on.
        raise SettingsError(
            "mongodb.uri is not a valid MongoDB address",
            hint="Write mongodb://user:password@host:27017, with special characters escaped (%40 for @)",
        ) from None
    try:
        await client.admin.command("ping")
    except PyMongoError as error:
        await client.close()
        refused = isinstance(error, OperationFailure) and error.code in _UNAUTHORIZED
        what = "refuses these credentials" if refused else f"does not answer within {timeout_s:g} s"
        hint = "Check user, password and authSource" if refused else "Check the address"
        raise MongoUnavailableError(
            f"MongoDB at {redact_url(uri)} {what}", hint=hint, unreachable=not refused
        ) from None
    return client


@contextmanager
def mongo_errors(doing: str) -> Iterator[None]:
    """Raise our errors for the driver's; `doing` completes "while …" in the message.

    Raises:
        MongoUnavailableError: the server went away, or did not answer in time.
        CatalogError: it answered, and refused.
    """
    try:
        yield
    except PyMongoError as error:
        if isinstance(error, ConnectionFailure) or error.timeout:
            raise MongoUnavailableError(f"MongoDB went away while {doing}", hint="Check that it runs") from error
        raise CatalogError(f"MongoDB refused while {doing}: {redact_url(str(error))}") from error
