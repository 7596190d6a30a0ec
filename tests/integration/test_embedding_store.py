"""Kept embeddings in a real MongoDB server."""

import numpy as np
import pytest

from framematch.catalog.embeddings.store import EmbeddingSpace, EmbeddingStore
from framematch.catalog.mongo import Database
from framematch.core.arrays import Embeddings
from tests.unit.catalog.snapshots import unit_rows

pytestmark = pytest.mark.integration

DIMENSION = 48
SPACE = EmbeddingSpace("ab" * 32, "cd" * 32, DIMENSION)
IMAGES = [f"{number:064x}" for number in range(5)]


@pytest.fixture
def store(database: Database) -> EmbeddingStore:
    return EmbeddingStore(database, SPACE)


async def kept(store: EmbeddingStore, images: list[str]) -> dict[int, Embeddings]:
    return {
        number: row
        async for numbers, rows in store.read(images)
        for number, row in zip(numbers, rows, strict=True)
    }  # fmt: skip


async def test_what_is_written_is_read_back_for_the_pictures_asked(store: EmbeddingStore) -> None:
    rows = unit_rows(5)
    await store.write(IMAGES, rows)
    found = await kept(store, ["ff" * 32, IMAGES[3], IMAGES[1]])
    assert list(found) == [1, 2] or list(found) == [2, 1]
    assert np.array_equal(found[1], rows[3])
    assert np.array_equal(found[2], rows[1])


async def test_another_model_or_preprocessing_has_its_own_embeddings(store: EmbeddingStore, database: Database) -> None:
    await store.write(IMAGES, unit_rows(5))
    for space in (EmbeddingSpace("ab" * 32, "ee" * 32, DIMENSION), EmbeddingSpace("ee" * 32, "cd" * 32, DIMENSION)):
        assert await kept(EmbeddingStore(database, space), IMAGES) == {}


@pytest.mark.parametrize(
    "vector",
    [
        None,
        "text",
        b"",
        bytes(4 * DIMENSION),
        unit_rows(1)[0, 1:].tobytes(),
        np.full(DIMENSION, np.nan, np.float32).tobytes(),
        np.full(DIMENSION, np.inf, np.float32).tobytes(),
        np.full(DIMENSION, 3e38, np.float32).tobytes(),
        (unit_rows(1)[0] * 1.1).tobytes(),
    ],
    ids=["null", "text", "empty", "zeros", "short", "NaN", "infinite", "huge", "long"],
)
async def test_a_damaged_embedding_counts_as_missing_and_is_replaced(
    store: EmbeddingStore, database: Database, vector: object
) -> None:
    rows = unit_rows(5)
    await store.write(IMAGES, rows)
    await database.embeddings.update_one({"_id": f"{SPACE.key}/{IMAGES[2]}"}, {"$set": {"vector": vector}})
    assert sorted(await kept(store, IMAGES)) == [0, 1, 3, 4]
    await store.write(IMAGES[2:3], rows[2:3])
    assert np.array_equal((await kept(store, IMAGES))[2], rows[2])


async def test_more_than_a_reply_may_have_is_read_in_batches(database: Database) -> None:
    space = EmbeddingSpace("ab" * 32, "cd" * 32, 100_000)
    store, rows = EmbeddingStore(database, space), unit_rows(130, space.dimension)
    assert rows.nbytes > 48_000_000
    images = [f"{number:064x}" for number in range(len(rows))]
    for start in range(0, len(rows), 32):
        await store.write(images[start : start + 32], rows[start : start + 32])
    assert len(await kept(store, images)) == len(rows)
