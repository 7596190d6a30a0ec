"""Deletes kept embeddings that no build needs."""

from collections.abc import Iterable

from framematch.catalog.embeddings.store import IDS_PER_QUERY, EmbeddingSpace
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.products import ProductStore

_IDS_PER_REPLY = 20_000
_AFTER_SLASH = chr(ord("/") + 1)


async def prune_embeddings(database: Database, spaces: Iterable[EmbeddingSpace], kept: Iterable[str] = ()) -> int:
    """Delete the embeddings of other spaces, and of pictures that no product has and `kept` does not name.

    Returns how many.

    Memory: the digests of all pictures.
    """
    keys = sorted(space.key for space in spaces)
    deleted = 0
    for between in _ranges_without(keys):
        deleted += await _delete(database, {"_id": between})
    images = {view.image async for product in ProductStore(database).iterate() for view in product.views}
    images.update(kept)
    for key in keys:
        last = f"{key}/"
        while ids := await _page(database, after=last, before=f"{key}{_AFTER_SLASH}"):
            last = ids[-1]
            unused = [each for each in ids if each.rpartition("/")[2] not in images]
            for start in range(0, len(unused), IDS_PER_QUERY):
                deleted += await _delete(database, {"_id": {"$in": unused[start : start + IDS_PER_QUERY]}})
    return deleted


def _ranges_without(keys: list[str]) -> list[Document]:
    """The ranges of ids that belong to no space; `keys` are sorted."""
    starts = ["", *(f"{key}{_AFTER_SLASH}" for key in keys)]
    ends = [*(f"{key}/" for key in keys), None]
    return [
        {"$gte": start} if end is None else {"$gte": start, "$lt": end}
        for start, end in zip(starts, ends, strict=True)
    ]  # fmt: skip


async def _page(database: Database, *, after: str, before: str) -> list[str]:
    with mongo_errors("listing embeddings"):
        found = database.embeddings.find({"_id": {"$gt": after, "$lt": before}}, {"_id": 1})
        return [document["_id"] for document in await found.sort("_id", 1).limit(_IDS_PER_REPLY).to_list()]


async def _delete(database: Database, where: Document) -> int:
    with mongo_errors("deleting embeddings"):
        return (await database.embeddings.delete_many(where)).deleted_count
