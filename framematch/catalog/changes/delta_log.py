"""The log of the changes of single products in MongoDB: numbered without gaps, appended by any process, never changed.

A document of the collection `delta` is one change: `{_id: number, product, removed, rows, views, vectors}`. `vectors`
has the embeddings of its views in each embedding space that a snapshot in use needs: all rows one after the other,
float32, little-endian.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
import structlog
from bson.binary import Binary
from pymongo.errors import DuplicateKeyError

from framematch.catalog.changes.delta import DELTA_ROWS_MAX, DeltaEntry, delta_rows
from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.products import MAX_ID_CHARACTERS, View, to_view
from framematch.catalog.snapshots.snapshot import REBUILD_HINT
from framematch.catalog.values import DocumentError, required_text, shown, whole_number
from framematch.core.arrays import Embeddings, invalid_rows
from framematch.core.errors import CatalogError

log = structlog.get_logger()

ENTRY_VIEWS_MAX: Final = 200
"""Of one product. The local stack's server sends all documents of a query in one reply; a driver takes 48 MB."""

_ENTRIES_MAX = 4 * DELTA_ROWS_MAX  # the same product may change often; a starting consumer reads all changes
_ENTRIES_PER_REPLY = 16  # up to 26 MB with 2,048 dimensions
_VALUE_BYTES = 4
_FOLD_HINT = f"{REBUILD_HINT} first, which takes all changes into a new snapshot"
_REPAIR_HINT = "Run 'framematch catalog build', which reads the products themselves"


async def newest_number(database: Database, *, known: int = 0) -> int:
    """The number of the newest change; 0 when there is none.

    One small read. Who polls says which number is `known`: while it is the newest one, any server answers without a
    scan, also the local stack's.

    Raises:
        CatalogError: the newest document is none of ours.
        MongoUnavailableError: MongoDB became unavailable.
    """
    with mongo_errors("reading the number of the newest change"):
        if known and await database.delta.find_one({"_id": known + 1}, {"_id": 1}) is None:
            return known
        document = await database.delta.find_one({"_id": {"$gt": 0}}, {"_id": 1}, sort=[("_id", -1)])
    return 0 if document is None else _number(document)


async def append(
    database: Database,
    product_id: str,
    views: Sequence[View],
    vectors: Mapping[str, Embeddings],
    *,
    base: int,
) -> int:
    """Append a change, and return its number. Without `views` the product is removed.

    Several processes may append at once. After a MongoUnavailableError the change may be in the log or not; appended
    twice it does no harm.

    Args:
        database: its collection `delta`.
        product_id: the product, whose document was written before.
        views: all views that it has now.
        vectors: for each embedding space float32 [views, D].
        base: the number of the last change that the active snapshot contains.

    Raises:
        CatalogError: there are too many changes since `base`.
        MongoUnavailableError: MongoDB became unavailable.
    """
    fields: Document = {
        "product": product_id,
        "removed": not views,
        "rows": delta_rows(len(views)),
        "views": [{"image": view.image, "width": view.width, "height": view.height} for view in views],
        "vectors": {space: _binary(rows) for space, rows in vectors.items()},
    }
    while True:
        # Not below `base`, whose changes no snapshot in use needs, if somebody has deleted the log.
        number = max(await newest_number(database), base) + 1
        # Nothing can come between, as then the number is taken. So the bound is exact.
        await check_room(database, product_id, len(views), base=base)
        if await _insert(database, {"_id": number, **fields}):
            log.info("delta_appended", number=number, product=product_id, removed=not views, views=len(views))
            return number


async def check_room(database: Database, product_id: str, views: int, *, base: int) -> None:
    """Check that a change of this product, to this number of views, can still be appended.

    Raises:
        CatalogError: it has too many views, or there are too many changes since the number `base`.
        MongoUnavailableError: MongoDB became unavailable.
    """
    if views > ENTRY_VIEWS_MAX:
        raise CatalogError(
            f"product {product_id!r} has {views} pictures; up to {ENTRY_VIEWS_MAX} can be searched before a build",
            hint=_FOLD_HINT,
        )
    with mongo_errors("counting the changes since the last build"):
        documents = (
            await database.delta.find({"_id": {"$gt": base}}, {"product": 1, "rows": 1})
            .sort("_id", 1)
            .limit(_ENTRIES_MAX)
            .to_list()
        )
    rows = {str(document.get("product")): _rows(document) for document in documents}
    rows[product_id] = delta_rows(views)
    if (total := sum(rows.values())) > DELTA_ROWS_MAX:
        what = f"{total} pictures and removals, of at most {DELTA_ROWS_MAX}"
    elif len(documents) >= _ENTRIES_MAX:
        what = f"more than {_ENTRIES_MAX} changes of products"
    else:
        return
    raise CatalogError(f"since the last build there would be {what}", hint=_FOLD_HINT)


async def read_entries(
    database: Database, *, after: int, space: str, dimension: int, up_to: int | None = None
) -> list[DeltaEntry]:
    """The changes after the number `after`, in order: the last one of each product, with embeddings in one space.

    Another process may append meanwhile. The result has all changes up to some number, so that none is skipped.

    Args:
        database: its collection `delta`.
        after: the number of the last change that is known.
        space: "<model digest>/<preprocessing digest>".
        dimension: the number of values of an embedding.
        up_to: the number of the last change to read; None reads all.

    Raises:
        CatalogError: a change is gone, damaged, or has no embeddings in this space, and no later one replaces it; the
            message names it.
        MongoUnavailableError: MongoDB became unavailable.
    """
    wanted = ["product", "removed", "views", f"vectors.{space}"]
    last_changes: dict[str, DeltaEntry | CatalogError] = {}
    number = after
    while up_to is None or number < up_to:
        documents = await _read_page(database, number, up_to, wanted)
        for document in documents:
            key = str(document.get("product"))
            last_changes.pop(key, None)  # so that they stay in the order of their numbers
            last_changes[key] = _entry_or_error(document, space, dimension)
        number += len(documents)
        if len(documents) < _ENTRIES_PER_REPLY:
            break
    if number == after:
        await _check_not_deleted(database, after + 1, up_to)
    return [_usable(change) for change in last_changes.values()]


async def was_removed(database: Database, product_id: str, *, after: int) -> bool | None:
    """Whether the last change of this product after the number `after` removed it; None when there is no change."""
    with mongo_errors("looking for changes of a product"):
        document = await database.delta.find_one(
            {"_id": {"$gt": after}, "product": product_id}, {"removed": 1}, sort=[("_id", -1)]
        )
    return None if document is None else bool(document.get("removed"))


async def changes_without(database: Database, space: str, *, after: int) -> dict[int, tuple[str, tuple[View, ...]]]:
    """The changes after the number `after` without embeddings in this space: product and views by number.

    Damaged ones are left out.
    """
    with mongo_errors("looking for changes without embeddings"):
        documents = (
            await database.delta.find(
                {"_id": {"$gt": after}, "removed": False, f"vectors.{space}": {"$exists": False}},
                {"product": 1, "views": 1},
            )
            .sort("_id", 1)
            .batch_size(_ENTRIES_PER_REPLY)
            .to_list()
        )
    found = {}
    for document in documents:
        with suppress(DocumentError):  # whoever serves the change names it
            found[_number(document)] = required_text(document, "product"), _views(document)
    return found


async def add_embeddings(database: Database, number: int, space: str, embeddings: Embeddings) -> None:
    """Give a change the embeddings of its views in a further space, float32 [views, D]."""
    with mongo_errors("writing the embeddings of a change"):
        await database.delta.update_one({"_id": number}, {"$set": {f"vectors.{space}": _binary(embeddings)}})


async def delete_up_to(database: Database, number: int) -> int:
    """Delete the changes that all snapshots in use contain; returns how many. The newest stays, to count on from it."""
    last = min(number, await newest_number(database) - 1)
    with mongo_errors("deleting changes that are in all snapshots"):
        return (await database.delta.delete_many({"_id": {"$lte": last}})).deleted_count


async def _insert(database: Database, document: Document) -> bool:
    """Insert a change; False when another process has taken its number."""
    with mongo_errors("writing a change of a product"):
        try:
            await database.delta.insert_one(document)
        except DuplicateKeyError:
            return False
    return True


async def _read_page(database: Database, after: int, up_to: int | None, wanted: list[str]) -> list[Document]:
    """The documents of the next changes, up to one that is missing."""
    last = after + _ENTRIES_PER_REPLY if up_to is None else min(after + _ENTRIES_PER_REPLY, up_to)
    numbers = list(range(after + 1, last + 1))  # the local stack's server would scan all changes for a range
    with mongo_errors("reading changes of products"):
        documents = await database.delta.find({"_id": {"$in": numbers}}, wanted).sort("_id", 1).to_list()
    # A query that runs while others append may see a change without the one before it.
    return [document for place, document in enumerate(documents, after + 1) if document["_id"] == place]


def _binary(embeddings: Embeddings) -> Binary:
    return Binary(embeddings.astype("<f4").tobytes())


def _rows(document: Document) -> int:
    try:
        return whole_number(document, "rows", at_least=1)
    except DocumentError:
        return 1  # whoever reads this change names it


async def _check_not_deleted(database: Database, number: int, up_to: int | None) -> None:
    """Check that change `number`, which a query did not see, was not deleted.

    Raises:
        CatalogError: it was: there are later ones, and a change is appended after the one before it.
    """
    if (up_to is not None and number > up_to) or await newest_number(database) <= number:
        return
    with mongo_errors("reading changes of products"):
        if await database.delta.find_one({"_id": number}, {"_id": 1}) is None:
            raise CatalogError(f"change {number} of the catalogue is gone from MongoDB", hint=_REPAIR_HINT)


def _number(document: Document) -> int:
    try:
        return whole_number(document, "_id", at_least=1)
    except DocumentError as error:
        raise _damaged(document, str(error)) from None


def _entry_or_error(document: Document, space: str, dimension: int) -> DeltaEntry | CatalogError:
    try:
        return _to_entry(document, space, dimension)
    except DocumentError as error:
        return _damaged(document, str(error))


def _usable(change: DeltaEntry | CatalogError) -> DeltaEntry:
    if isinstance(change, CatalogError):
        raise change
    return change


def _to_entry(document: Document, space: str, dimension: int) -> DeltaEntry:
    product_id = required_text(document, "product")
    if len(product_id) > MAX_ID_CHARACTERS:
        raise DocumentError(f"the product's id has more than {MAX_ID_CHARACTERS} characters")
    if not isinstance(removed := document.get("removed"), bool):
        raise DocumentError(f"removed is {shown(removed)}, not true or false")
    views = _views(document)
    if removed != (not views):
        raise DocumentError("it is neither a removal nor has it views")
    embeddings = _embeddings(document, space, len(views), dimension)
    return DeltaEntry(whole_number(document, "_id"), product_id, removed, views, embeddings)


def _views(document: Document) -> tuple[View, ...]:
    views = document.get("views")
    if not isinstance(views, list) or not all(isinstance(view, dict) for view in views):
        raise DocumentError(f"views is {shown(views)}, not a list of objects")
    return tuple(to_view(view, required_text(view, "image")) for view in views)


def _embeddings(document: Document, space: str, views: int, dimension: int) -> Embeddings:
    """The embeddings in one space, float32 [views, dimension]; a removal needs none."""
    vectors: Any = document.get("vectors")
    data = vectors.get(space) if isinstance(vectors, dict) else None
    if not views:
        return np.empty((0, dimension), np.float32)
    if data is None:
        model = space.partition("/")[0][:12]
        raise DocumentError(f"it has no embeddings by the model {model}, which was not in use when it was written")
    if not isinstance(data, bytes) or len(data) != views * dimension * _VALUE_BYTES:
        raise DocumentError(f"its embeddings are not {views} times {dimension} numbers")
    embeddings = np.frombuffer(data, "<f4").reshape(views, dimension)
    if (invalid := invalid_rows(embeddings)).size:
        raise DocumentError(f"embedding {invalid[0]} is no finite unit vector")
    return embeddings


def _damaged(document: Document, reason: str) -> CatalogError:
    number = shown(document.get("_id"))
    return CatalogError(f"change {number} of the catalogue cannot be used: {reason}", hint=_REPAIR_HINT)
