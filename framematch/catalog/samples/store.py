"""Labelled pictures in MongoDB: bounded, and kept when an index is built anew."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import get_args

import structlog
from pymongo import ReplaceOne

from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.samples.sample import (
    SAMPLE_FIELDS,
    Label,
    LabelledPicture,
    Sample,
    Source,
    to_document,
    to_sample,
)
from framematch.catalog.values import DocumentError, shown
from framematch.core.errors import CatalogError

log = structlog.get_logger()

MAX_PICTURES = 20_000
# For a query that names documents; see `framematch.catalog.embeddings.store.IDS_PER_QUERY`.
_IDS_PER_QUERY = 250
# The local stack's server sends all documents of a reply at once.
_SAMPLES_PER_REPLY = 1_000
# Together they fit into a request, which MongoDB takes up to 48 MB: a picture has up to 15 MB.
_PICTURES_PER_WRITE = 3


class SampleStore:
    """The collection `calibration_samples`, which keeps at most `max_pictures` labelled pictures.

    Other programs may write here too: a document that is none of ours is left out, and logged.
    """

    def __init__(self, database: Database, max_pictures: int = MAX_PICTURES) -> None:
        self.database = database
        self._samples = database.calibration_samples
        self._max_pictures = max_pictures

    async def add(self, pictures: Sequence[LabelledPicture]) -> int:
        """Keep labelled pictures; one that is kept already with its label is replaced. Returns how many are new.

        Raises:
            CatalogError: they would be more than are kept, and none is added; or MongoDB refuses.
            MongoUnavailableError: MongoDB became unavailable; some may have been added.
        """
        ids = {picture.sample.id for picture in pictures}
        new = len(ids) - len(await self.existing(ids))
        self.check_room(await self.count(), new)
        for start in range(0, len(pictures), _PICTURES_PER_WRITE):
            documents = map(to_document, pictures[start : start + _PICTURES_PER_WRITE])
            writes = [ReplaceOne({"_id": document["_id"]}, document, upsert=True) for document in documents]
            with mongo_errors("keeping labelled pictures"):
                await self._samples.bulk_write(writes, ordered=False)
        return new

    def check_room(self, kept: int, new: int) -> None:
        """Refuse more pictures than are kept.

        Raises:
            CatalogError: beside `kept` ones there is no room for `new` ones.
        """
        if new and kept + new > self._max_pictures:
            raise CatalogError(
                f"{kept} labelled pictures are kept, and {new} more would be more than the {self._max_pictures} of "
                "the setting calibration.max_pictures",
                hint="Raise it, or leave out pictures: many similar ones of one group tell little more than one",
            )

    async def read(
        self, *, label: Label | None = None, source: Source | None = None, camera: str | None = None
    ) -> AsyncIterator[Sample]:
        """The samples with this label, source and camera, by default all, in the order of their ids."""
        with mongo_errors("reading labelled pictures"):
            found = self._samples.find(_where(label, source, camera), SAMPLE_FIELDS).sort("_id", 1)
            async for document in found.batch_size(_SAMPLES_PER_REPLY):
                if sample := _sample(document):
                    yield sample

    async def of_images(self, images: Iterable[str]) -> list[Sample]:
        """The samples of these pictures, by SHA-256, in the order of their ids."""
        wanted = sorted(f"{image}-{label}" for image in set(images) for label in get_args(Label))
        found: list[Sample] = []
        for start in range(0, len(wanted), _IDS_PER_QUERY):
            part = {"_id": {"$in": wanted[start : start + _IDS_PER_QUERY]}}
            with mongo_errors("reading labelled pictures"):
                documents = await self._samples.find(part, SAMPLE_FIELDS).sort("_id", 1).to_list()
            found += [sample for sample in map(_sample, documents) if sample]
        return found

    async def pictures(self, samples: Sequence[Sample]) -> dict[str, bytes]:
        """The pictures of these samples, by SHA-256; those that are gone or damaged are left out, and logged.

        All of them are in one reply of at most 48 MB, so ask for three (`framematch.catalog.images.MAX_BYTES`).
        """
        wanted = {"_id": {"$in": [sample.id for sample in samples]}}
        with mongo_errors("reading labelled pictures"):
            documents = await self._samples.find(wanted, {"image": 1, "picture": 1}).to_list()
        pictures = {}
        for document in documents:
            data, image = document.get("picture"), document.get("image")
            if isinstance(data, bytes) and hashlib.sha256(data).hexdigest() == image:
                pictures[image] = bytes(data)
            else:
                log.warning("sample_unreadable", sample=shown(document["_id"]), error="its picture is damaged")
        return pictures

    async def count(
        self, *, label: Label | None = None, source: Source | None = None, camera: str | None = None
    ) -> int:
        """How many documents there are with this label, source and camera."""
        with mongo_errors("counting labelled pictures"):
            return await self._samples.count_documents(_where(label, source, camera))

    async def existing(self, ids: Iterable[str]) -> frozenset[str]:
        """Which of these samples are kept."""
        wanted, found = sorted(set(ids)), set[str]()
        for start in range(0, len(wanted), _IDS_PER_QUERY):
            part = {"_id": {"$in": wanted[start : start + _IDS_PER_QUERY]}}
            with mongo_errors("looking for labelled pictures"):
                found |= {document["_id"] for document in await self._samples.find(part, {"_id": 1}).to_list()}
        return frozenset(found)

    async def delete(self, ids: Iterable[str]) -> int:
        """Delete samples by their ids; returns how many there were."""
        wanted, deleted = sorted(set(ids)), 0
        for start in range(0, len(wanted), _IDS_PER_QUERY):
            deleted += await self._delete({"_id": {"$in": wanted[start : start + _IDS_PER_QUERY]}})
        return deleted

    async def delete_source(self, source: Source) -> int:
        """Delete all samples of one source; returns how many there were."""
        return await self._delete(_where(None, source, None))

    async def _delete(self, where: Document) -> int:
        with mongo_errors("deleting labelled pictures"):
            return (await self._samples.delete_many(where)).deleted_count


def _sample(document: Document) -> Sample | None:
    """The sample in a document; None, and a line in the log, if it is none of ours."""
    try:
        return to_sample(document)
    except DocumentError as error:
        log.warning("sample_unreadable", sample=shown(document["_id"]), error=str(error))
        return None


def _where(label: Label | None, source: Source | None, camera: str | None) -> Document:
    wanted = {"label": label, "source": source, "camera": camera}
    return {name: value for name, value in wanted.items() if value is not None}
