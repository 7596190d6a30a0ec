"""Labelled pictures in a real MongoDB server."""

from typing import Any

import numpy as np
import pytest

from framematch.catalog.mongo import Database
from framematch.catalog.samples.embedder import SampleEmbedder
from framematch.catalog.samples.sample import LabelledPicture, Sample
from framematch.catalog.samples.store import SampleStore
from framematch.core.errors import CatalogError
from framematch.vision.preprocess import Preprocessor
from tests.unit.catalog.snapshots import SPEC, ColourEncoder, picture

pytestmark = pytest.mark.integration


def labelled(number: int, label: Any = "nothing", data: bytes | None = None, **more: Any) -> LabelledPicture:
    more = {"source": "folder", "group": f"group-{number}", **more}
    return LabelledPicture.of(data or picture(number), label, **more)


async def kept(store: SampleStore, **which: Any) -> list[Sample]:
    return [sample async for sample in store.read(**which)]


async def test_labelled_pictures_are_kept_once_and_read_by_what_they_are(database: Database) -> None:
    store = SampleStore(database)
    pictures = [
        labelled(1, "product", product_id="p1"),
        labelled(2, "nothing", source="reviewed", camera="hall"),
        labelled(3, "stranger"),
    ]
    assert await store.add(pictures) == len(pictures)
    assert await store.add(pictures) == 0
    assert await kept(store) == sorted((one.sample for one in pictures), key=lambda sample: sample.id)
    assert await kept(store, label="nothing", camera="hall") == [pictures[1].sample]
    assert await store.of_images([pictures[0].sample.image]) == [pictures[0].sample]
    assert await store.pictures([pictures[2].sample]) == {pictures[2].sample.image: pictures[2].data}
    assert (await store.delete_source("folder"), await store.count()) == (2, 1)


async def test_more_pictures_than_the_setting_allows_are_refused_before_one_is_added(database: Database) -> None:
    store = SampleStore(database, max_pictures=2)
    await store.add([labelled(1)])
    with pytest.raises(CatalogError, match=r"1 labelled pictures are kept, and 2 more would be more than the 2"):
        await store.add([labelled(2), labelled(3)])
    assert await store.count() == 1


async def test_a_document_of_another_program_is_left_out(database: Database) -> None:
    store, good = SampleStore(database), labelled(1)
    await store.add([good])
    await database.calibration_samples.insert_one({"_id": "x", "label": "nothing"})
    assert await kept(store) == [good.sample]


async def test_new_pictures_are_embedded_once_and_unusable_ones_named(database: Database) -> None:
    store = SampleStore(database)
    embedder = SampleEmbedder(store, ColourEncoder(), Preprocessor(SPEC, "fast"))
    pictures = [labelled(number) for number in range(1, 6)]
    await store.add([*pictures, labelled(9, data=b"no picture")])
    samples = await kept(store)
    first, again = await embedder.embed(samples), await embedder.embed(samples)
    assert (first.new, again.new) == (len(pictures), 0)
    assert [sample.group for sample in first.unusable] == ["group-9"]
    assert first.samples == again.samples
    assert np.array_equal(first.embeddings, again.embeddings)


async def test_a_picture_whose_bytes_were_changed_is_not_used(database: Database) -> None:
    store = SampleStore(database)
    await store.add([labelled(1)])
    await database.calibration_samples.update_one({}, {"$set": {"picture": b"other"}})
    found = await SampleEmbedder(store, ColourEncoder(), Preprocessor(SPEC, "fast")).embed(await kept(store))
    assert (found.samples, len(found.unusable)) == ((), 1)
