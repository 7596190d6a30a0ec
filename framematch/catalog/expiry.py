"""Lets MongoDB delete documents some time after the date in one of their fields."""

import structlog
from pymongo.errors import OperationFailure

from framematch.catalog.mongo import Database

log = structlog.get_logger()

_INDEX = "expires"
_COMMAND_NOT_FOUND = 59  # of servers that only speak MongoDB's protocol


async def set_expiry(database: Database, collection: str, field: str, after_s: int) -> None:
    """Delete documents of `collection` `after_s` after the date in `field`, also if that was another time; 0: never.

    Raises PyMongoError: use it inside `mongo_errors`.
    """
    documents = database[collection]
    known = (await documents.index_information()).get(_INDEX, {}).get("expireAfterSeconds")
    if known is not None and round(known) == after_s:
        return
    if known is not None and after_s:
        log.info("retention_changed", collection=collection, from_s=round(known), to_s=after_s)
        try:
            await database.command("collMod", collection, index={"name": _INDEX, "expireAfterSeconds": after_s})
        except OperationFailure as error:
            if error.code != _COMMAND_NOT_FOUND:
                raise
        else:
            return
    if known is not None:
        await documents.drop_index(_INDEX)
    if after_s:
        await documents.create_index(field, name=_INDEX, expireAfterSeconds=after_s)
