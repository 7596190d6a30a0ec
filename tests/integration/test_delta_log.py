"""The log of changes in a real MongoDB server."""

import asyncio
from typing import Any

import numpy as np
import pytest
from bson import ObjectId

from framematch.catalog.changes import delta_log
from framematch.catalog.changes.delta import DELTA_ROWS_MAX, Delta, DeltaEntry
from framematch.catalog.changes.delta_log import append, newest_number, read_entries
from framematch.catalog.mongo import Database
from framematch.catalog.products import View
from framematch.core.arrays import Embeddings
from framematch.core.errors import CatalogError
from tests.unit.catalog.snapshots import unit_rows

pytestmark = pytest.mark.integration

SPACE, OTHER_SPACE = f"{'ab' * 32}/{'cd' * 32}", f"{'ef' * 32}/{'cd' * 32}"
DIMENSION = 8
VIEW = View("0" * 64, 24, 24)


def rows(count: int = 1, seed: int = 0) -> Embeddings:
    return unit_rows(count, DIMENSION, seed)


async def add(database: Database, product_id: str, views: int = 1, *, space: str = SPACE, base: int = 0) -> int:
    return await append(database, product_id, [VIEW] * views, {space: rows(views)}, base=base)


async def remove(database: Database, product_id: str, *, base: int = 0) -> int:
    return await append(database, product_id, (), {}, base=base)


async def read(database: Database, after: int = 0, *, up_to: int | None = None) -> list[DeltaEntry]:
    return await read_entries(database, after=after, space=SPACE, dimension=DIMENSION, up_to=up_to)


async def test_changes_are_read_as_they_were_appended(database: Database) -> None:
    views, vectors = (VIEW, View("1" * 64, 10, 20)), rows(2)
    assert await newest_number(database) == 0
    assert await append(database, "a", views, {SPACE: vectors, OTHER_SPACE: unit_rows(2, 16)}, base=0) == 1
    assert await append(database, "b", (), {}, base=0) == 2
    changed, removed = await read(database)
    assert (changed.number, changed.product_id, changed.removed, changed.views) == (1, "a", False, views)
    np.testing.assert_array_equal(changed.embeddings, vectors)
    assert (removed.number, removed.product_id, removed.removed, removed.views) == (2, "b", True, ())
    assert removed.embeddings.shape == (0, DIMENSION)
    assert await newest_number(database) == 2


async def test_only_the_changes_after_a_number_and_up_to_another_are_read(database: Database) -> None:
    for number in range(1, 41):
        assert await add(database, f"p{number}") == number
    assert [entry.number for entry in await read(database, 7)] == list(range(8, 41))
    assert [entry.number for entry in await read(database, 7, up_to=30)] == list(range(8, 31))
    assert await read(database, 40) == await read(database, 40, up_to=40) == []


async def test_of_several_changes_of_a_product_the_last_is_read(database: Database) -> None:
    for product in ("a", "b", "a", "c", "a"):
        await add(database, product)
    entries = await read(database)
    assert [(entry.number, entry.product_id) for entry in entries] == [(2, "b"), (4, "c"), (5, "a")]
    assert Delta(0).with_entries(entries).number == 5


async def test_processes_that_append_at_once_lose_no_change_and_leave_no_gap(database: Database) -> None:
    seen: list[int] = []

    async def write(writer: int) -> list[int]:
        return [await add(database, f"{writer}-{number}") for number in range(20)]

    async def follow() -> None:
        delta = Delta(0)
        while delta.number < 80:
            delta = delta.with_entries(await read(database, delta.number))
            assert len(delta.changes) == delta.number  # a prefix: no change is missing
            seen.append(delta.number)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write(writer)) for writer in range(4)]
        group.create_task(follow())
    assert sorted(number for writer in writers for number in writer.result()) == list(range(1, 81))
    assert seen[-1] == 80
    products = {entry.product_id for entry in await read(database)}
    assert products == {f"{writer}-{number}" for writer in range(4) for number in range(20)}


async def test_changes_beyond_the_bound_are_refused_until_a_build_contains_some(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_log, "DELTA_ROWS_MAX", 5)
    await add(database, "a", 3)
    await remove(database, "b")
    assert await add(database, "a", 4) == 3  # in place of its 3 rows
    with pytest.raises(CatalogError, match="since the last build there would be 6 pictures and removals, of at most 5"):
        await remove(database, "c")
    assert await newest_number(database) == 3
    assert await remove(database, "c", base=2) == 4


async def test_the_number_of_changes_is_bounded_even_if_they_are_of_one_product(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_log, "_ENTRIES_MAX", 3)
    for _ in range(3):
        await add(database, "a")
    with pytest.raises(CatalogError, match="more than 3 changes of products"):
        await add(database, "a")


async def test_a_product_with_too_many_pictures_is_refused(database: Database) -> None:
    with pytest.raises(CatalogError, match="product 'a' has 201 pictures; up to 200 can be searched before a build"):
        await append(database, "a", [VIEW] * 201, {SPACE: rows(201)}, base=0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"product": 7}, "product is 7, not a text"),
        ({"product": "x" * 1_001}, "the product's id has more than 1000 characters"),
        ({"removed": "no"}, "removed is 'no', not true or false"),
        ({"removed": True}, "it is neither a removal nor has it views"),
        ({"views": None}, "views is missing or null, not a list of objects"),
        ({"views": [{"image": "00", "width": 0, "height": 1}]}, "width is 0"),
        ({"vectors": {}}, "it has no embeddings by the model abababababab, which was not in use when it was written"),
        ({"vectors": None}, "it has no embeddings by the model abababababab"),
        ({"vectors": {SPACE: "text"}}, "its embeddings are not 1 times 8 numbers"),
        ({"vectors": {SPACE: rows(2).tobytes()}}, "its embeddings are not 1 times 8 numbers"),
        ({"vectors": {SPACE: (2 * rows()).tobytes()}}, "embedding 0 is no finite unit vector"),
        ({"vectors": {SPACE: np.full(8, np.nan, np.float32).tobytes()}}, "embedding 0 is no finite unit vector"),
    ],
)
async def test_a_damaged_change_is_named_and_a_later_one_of_the_product_replaces_it(
    database: Database, fields: dict[str, Any], reason: str
) -> None:
    await add(database, "a")
    await add(database, "b")
    await database.delta.update_one({"_id": 2}, {"$set": fields})
    with pytest.raises(CatalogError) as error:
        await read(database)
    assert error.value.message.startswith(f"change 2 of the catalogue cannot be used: {reason}")
    assert [entry.number for entry in await read(database, up_to=1)] == [1]
    if "product" not in fields:
        await add(database, "b")
        assert [entry.number for entry in await read(database)] == [1, 3]


async def test_changes_up_to_one_that_was_deleted_are_read_and_then_it_is_named(database: Database) -> None:
    for product in "abc":
        await add(database, product)
    await database.delta.delete_one({"_id": 2})
    assert [entry.number for entry in await read(database)] == [1]
    with pytest.raises(CatalogError, match="change 2 of the catalogue is gone from MongoDB"):
        await read(database, 1)


async def test_changes_that_a_snapshot_needs_and_that_were_deleted_are_named(database: Database) -> None:
    for product in "abc":
        await add(database, product)
    assert await delta_log.delete_up_to(database, 2) == 2
    assert [entry.number for entry in await read(database, 2)] == [3]
    with pytest.raises(CatalogError, match="change 1 of the catalogue is gone from MongoDB"):
        await read(database)


async def test_numbers_rise_though_all_changes_were_folded_in_or_deleted(database: Database) -> None:
    for product in "abc":
        await add(database, product)
    assert await delta_log.delete_up_to(database, 3) == 2
    assert await add(database, "d", base=3) == 4
    await database.delta.drop()
    assert await add(database, "e", base=4) == 5


async def test_documents_with_other_ids_are_no_changes(database: Database) -> None:
    await database.delta.insert_many([{"_id": ObjectId()}, {"_id": "x"}, {"_id": -3}, {"note": "mine"}])
    assert await newest_number(database) == 0
    assert await add(database, "a") == 1
    assert [entry.number for entry in await read(database)] == [1]


async def test_as_many_changes_as_may_be_are_read_from_the_local_server(database: Database) -> None:
    views, vectors = [VIEW] * 200, {SPACE: unit_rows(200, 2_048)}
    for number in range(30):  # 49 MB, of which a reply cannot have all
        await append(database, f"p{number % 25}", views, vectors, base=0)
    entries = await read_entries(database, after=0, space=SPACE, dimension=2_048)
    assert sum(len(entry.embeddings) for entry in entries) == DELTA_ROWS_MAX
