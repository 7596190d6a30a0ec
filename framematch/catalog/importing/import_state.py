"""When an import of a file began that has not ended yet: what was downloaded since need not be asked for again."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.mongo import Database, mongo_errors

_PIECE_BYTES: Final = 1_048_576
_KEPT: Final = timedelta(days=7)
"""An import that began longer ago is not continued: its pictures are asked for again."""


@asynccontextmanager
async def unfinished_import(path: Path, options: ImportOptions, database: Database) -> AsyncIterator[datetime | None]:
    """When the import began, as long as the context lasts: earlier than now if it was interrupted before.

    An import is the same if its file has the same content, and its options are the same. None for a pipe, and for a dry
    run, of which nothing is remembered.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    key = None if options.dry_run else await asyncio.to_thread(_key, path, options)
    if key is None:
        yield None
        return
    began_at = await _begin(database, key)
    yield began_at
    # Not when it is interrupted, or fails.
    with mongo_errors("saying that an import has ended"):
        await database.imports.delete_one({"_id": key})


async def _begin(database: Database, key: str) -> datetime:
    now = datetime.now(UTC)
    with mongo_errors("looking for an interrupted import"):
        document = await database.imports.find_one({"_id": key})
        began_at = document.get("began_at") if document else None
        if isinstance(began_at, datetime) and now - _KEPT < began_at <= now:
            return began_at
        await database.imports.replace_one({"_id": key}, {"began_at": now}, upsert=True)
        await database.imports.delete_many({"began_at": {"$lt": now - _KEPT}})
    return now


def _key(path: Path, options: ImportOptions) -> str | None:
    if not path.is_file():
        return None
    asked = replace(options, refused=None, refused_folder=None, find_lacking=False)
    digest = hashlib.sha256(repr(asked).encode(errors="backslashreplace"))
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
