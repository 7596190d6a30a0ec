"""When an import of a file began that has not ended yet: what was downloaded since need not be asked for again."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from framematch.catalog.mongo import Database, mongo_errors

_PIECE_BYTES: Final = 1_048_576
KEPT: Final = timedelta(days=7)
"""An import that began longer ago is not continued: its pictures are asked for again."""


def import_key(path: Path, options: str) -> str | None:
    """Names an import by the content of its file, and by the options that change what it does; None for a pipe.

    Raises:
        OSError: the file cannot be read.
    """
    if not path.is_file():
        return None
    digest = hashlib.sha256(options.encode())
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True)
class ImportState:
    """Documents in the collection `imports` of a database."""

    database: Database

    async def begin(self, key: str | None) -> datetime:
        """When the import with this key began: now, or earlier if it was interrupted."""
        now = datetime.now(UTC)
        if key is None:
            return now
        with mongo_errors("looking for an interrupted import"):
            imports = self.database.imports
            document = await imports.find_one({"_id": key})
            began_at = document.get("began_at") if document else None
            if isinstance(began_at, datetime) and now - KEPT < began_at <= now:
                return began_at
            await imports.replace_one({"_id": key}, {"began_at": now}, upsert=True)
            await imports.delete_many({"began_at": {"$lt": now - KEPT}})
        return now

    async def end(self, key: str | None) -> None:
        """Say that the import has ended."""
        if key is not None:
            with mongo_errors("saying that an import has ended"):
                await self.database.imports.delete_one({"_id": key})
