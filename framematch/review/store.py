"""The collection `review`: pictures of decided regions until a person has labelled them, or they expire."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from framematch.catalog.expiry import set_expiry
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.values import DocumentError, shown
from framematch.core.errors import UsageError
from framematch.core.events import DecisionKind
from framematch.core.settings import ReviewSettings
from framematch.review.picture import FIELDS, GivenLabel, ReviewPicture, label_field, to_picture

log = structlog.get_logger()

COLLECTION: Final = "review"
_S_PER_DAY = 86_400
_DELETED_AT_ONCE = 1_000
_ID_START = re.compile(r"[0-9a-f][0-9a-f-]{3,35}")
_HINT = "'framematch calibration review list' shows the ids"


@dataclass(frozen=True)
class Wanted:
    """Which pictures to list, and at most how many."""

    limit: int
    camera: str | None = None
    decision: DecisionKind | None = None
    labelled: bool = False


class ReviewStore:
    """Reads and writes the kept pictures; all methods raise as `mongo_errors`.

    Other programs may write here too: a document that is none of ours is left out, and logged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pictures = database[COLLECTION]

    async def prepare(self, settings: ReviewSettings) -> None:
        """Create the indexes, and change after how many days pictures are deleted, if the settings say another time."""
        with mongo_errors("preparing the collection review"):
            await self._pictures.create_indexes(
                [
                    IndexModel([("camera", ASCENDING), ("hour", ASCENDING)]),
                    IndexModel([("captured_at", DESCENDING), ("_id", DESCENDING)]),
                ]
            )
            await set_expiry(self._database, COLLECTION, "stored_at", max(1, round(settings.days * _S_PER_DAY)))

    async def add(self, document: Document) -> bool:
        """Store the document of a new picture; False if it was there already, which changes nothing."""
        with mongo_errors("keeping a picture for review"):
            try:
                await self._pictures.insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    async def of_hour(self, camera: str, hour: int) -> list[ReviewPicture]:
        """What is kept of this camera and hour."""
        return await self._find({"camera": camera, "hour": hour}, ())

    async def drop(self, ids: Iterable[str]) -> int:
        """Delete pictures that nobody has labelled; returns how many."""
        if not (wanted := list(ids)):
            return 0
        with mongo_errors("deleting pictures for review"):
            deleted = await self._pictures.delete_many({"_id": {"$in": wanted}, "label": None})
        return deleted.deleted_count

    async def trim(self, max_pictures: int) -> int:
        """Delete the oldest pictures above this number, first those without a label; returns how many."""
        with mongo_errors("deleting pictures for review"):
            excess = await self._pictures.count_documents({}) - max_pictures
            deleted = 0
            for where in ({"label": None}, {}):
                if (wanted := min(excess - deleted, _DELETED_AT_ONCE)) > 0:
                    found = self._pictures.find(where, {"_id": 1}).sort([("captured_at", 1), ("_id", 1)]).limit(wanted)
                    ids = [document["_id"] for document in await found.to_list()]
                    deleted += (await self._pictures.delete_many({"_id": {"$in": ids}})).deleted_count
        return deleted

    async def newest(self, wanted: Wanted) -> list[ReviewPicture]:
        """The newest pictures of those that are wanted."""
        where: dict[str, Any] = {"label": {"$ne": None} if wanted.labelled else None}
        given = (("camera", wanted.camera), ("decision", wanted.decision))
        where |= {name: value for name, value in given if value is not None}
        return await self._find(where, (("captured_at", DESCENDING), ("_id", DESCENDING)), wanted.limit)

    async def resolve(self, text: str) -> str:
        """The id that is `text` or starts with it.

        Raises:
            UsageError: there is none, or more than one.
        """
        if not _ID_START.fullmatch(text):
            raise UsageError(f"{shown(text)} is no id of a picture", hint=_HINT)
        with mongo_errors("looking for a picture"):
            found = await self._pictures.find({"_id": {"$regex": f"^{text}"}}, {"_id": 1}).limit(2).to_list()
        if len(found) != 1:
            many = "more than one picture starts" if found else "no picture starts"
            raise UsageError(f"{many} with {text!r}", hint=_HINT)
        return str(found[0]["_id"])

    async def of_ids(self, ids: Sequence[str]) -> dict[str, ReviewPicture]:
        """The pictures with these ids; those that do not exist are left out."""
        return {picture.id: picture for picture in await self._find({"_id": {"$in": list(ids)}}, ())}

    async def of_image(self, image: str) -> list[ReviewPicture]:
        """The pictures with these bytes: frames of a file that is played again are equal."""
        return await self._find({"image": image}, ())

    async def jpeg(self, picture_id: str) -> bytes | None:
        """The bytes of a picture; None when it does not exist any more."""
        with mongo_errors("reading a picture for review"):
            document = await self._pictures.find_one({"_id": picture_id}, {"picture": 1})
        data = document.get("picture") if document else None
        return bytes(data) if isinstance(data, bytes) else None

    async def set_label(self, picture_id: str, given: GivenLabel) -> None:
        """Write what a person says; nothing when the picture does not exist any more."""
        change = {"$set": {"label": label_field(given, datetime.now(UTC))}}
        with mongo_errors("labelling a picture"):
            await self._pictures.update_one({"_id": picture_id}, change)

    async def discard(self, picture_id: str) -> None:
        """Delete a picture."""
        with mongo_errors("deleting a picture for review"):
            await self._pictures.delete_one({"_id": picture_id})

    async def _find(
        self, where: Mapping[str, Any], order: Sequence[tuple[str, int]], limit: int = 0
    ) -> list[ReviewPicture]:
        with mongo_errors("reading pictures for review"):
            cursor = self._pictures.find(where, FIELDS).limit(limit)
            documents = await (cursor.sort(list(order)) if order else cursor).to_list()
        found = []
        for document in documents:
            try:
                found.append(to_picture(document))
            except DocumentError as error:
                log.warning("review_picture_unreadable", picture=shown(document.get("_id")), error=str(error))
        return found
