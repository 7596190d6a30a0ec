"""Single products are added, changed and removed in a real MongoDB server."""

import asyncio
from pathlib import Path

import pytest

from framematch.catalog.building.build import BuildReport
from framematch.catalog.changes import delta_log
from framematch.catalog.changes.needed_spaces import space_of
from framematch.catalog.changes.product_changes import ProductChanges, is_searched
from framematch.catalog.embeddings.picture_embedder import Encoder
from framematch.catalog.mongo import Database, connect
from framematch.catalog.operations.activation import NamesChange, change_names
from framematch.catalog.snapshots.names import read_names, write_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.storage_gridfs import GridFsStorage
from framematch.core.errors import CatalogError, ModelError, MongoUnavailableError, TritonUnavailableError
from framematch.stack.mongodb import MongoServer
from tests.integration.product_site import OTHER_MODEL, ProductSite, stored_product
from tests.unit.catalog.snapshots import MODEL, ColourEncoder

pytestmark = pytest.mark.integration


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> ProductSite:
    """Products p0 to p9 with a picture each, and an active snapshot of them."""
    site = ProductSite(database, tmp_path)
    await site.store.upsert_many([await stored_product(site.store, f"p{n}", n) for n in range(10)])
    await site.activate(await site.build())
    return site


def active(site: ProductSite) -> SnapshotManifest:
    """The manifest of the snapshot that was built first."""
    return next(iter(site.snapshots.values()))[0]


async def test_a_product_is_searched_as_it_was_added_changed_and_removed(site: ProductSite) -> None:
    assert await site.put("new", 100) == 1
    assert (await site.shown(active(site), 100)).candidates[0].product_id == "new"
    assert await site.put("new", 101) == 2
    assert (await site.shown(active(site), 100)).candidates[0].score < 0.99
    assert (await site.shown(active(site), 101)).candidates[0].product_id == "new"
    assert (await site.changes.remove("new")).number == 3
    assert "new" not in {c.product_id for c in (await site.shown(active(site), 101)).candidates}
    assert (await site.changes.remove("p3")).number == 4
    assert "p3" not in {c.product_id for c in (await site.shown(active(site), 3)).candidates}
    assert await site.store.get_many(["new", "p3"]) == {}


async def test_a_build_takes_the_changes_in_and_embeds_none_of_their_pictures_again(site: ProductSite) -> None:
    await site.put("new", 100)
    await site.put("p1", 101)
    await site.changes.remove("p2")
    report = BuildReport()
    manifest = await site.build(report=report)
    assert (manifest.delta, manifest.products, report.new_pictures) == (3, 10, 0)
    before, after = active(site), manifest
    for seed in (0, 1, 2, 100, 101):
        assert await site.shown(before, seed) == await site.shown(after, seed)


async def test_without_an_active_snapshot_the_product_is_stored_and_nothing_is_searched(
    database: Database, tmp_path: Path
) -> None:
    site = ProductSite(database, tmp_path, encoders={})
    assert await site.put("a", 1) is None
    assert await site.newest() == 0
    assert set(await site.store.get_many(["a"])) == {"a"}
    assert (await site.changes.remove("a")).number is None
    assert await site.store.get_many(["a"]) == {}


@pytest.mark.parametrize("error", [TritonUnavailableError("Triton does not answer"), ModelError("no such model")])
async def test_nothing_is_changed_when_the_active_model_cannot_embed_the_pictures(
    site: ProductSite, error: Exception
) -> None:
    async def fail(_digest: str) -> Encoder:
        raise error

    product = await stored_product(site.store, "p0", 100)
    with pytest.raises(type(error)):
        await ProductChanges(site.store, fail).put(product)
    assert (await site.store.get_many(["p0"]))["p0"].views != product.views
    assert await site.newest() == 0


async def test_nothing_is_changed_when_there_are_too_many_changes(
    site: ProductSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_log, "DELTA_ROWS_MAX", 2)
    await site.put("new", 100, 101)
    with pytest.raises(CatalogError, match="of at most 2"):
        await site.put("other", 102)
    with pytest.raises(CatalogError, match="of at most 2"):
        await site.changes.remove("p0")
    assert set(await site.store.get_many(["p0", "other"])) == {"p0"}
    assert await site.newest() == 1


async def test_the_removal_of_a_product_needs_no_triton(site: ProductSite) -> None:
    site.encoders = {}
    assert (await site.changes.remove("p0")).number == 1


async def test_a_change_is_embedded_for_every_snapshot_in_use(site: ProductSite) -> None:
    site.encoders = {MODEL.digest: ColourEncoder(), OTHER_MODEL.digest: ColourEncoder(OTHER_MODEL)}
    other = await site.build(ColourEncoder(OTHER_MODEL))
    names = await read_names(site.database)
    await write_names(site.database, names, names.with_shadow(other.id))
    await site.put("new", 100)
    for manifest in (active(site), other):
        assert (await site.shown(manifest, 100)).candidates[0].product_id == "new"


async def test_a_shadow_whose_model_is_not_served_any_more_is_named(site: ProductSite) -> None:
    other = await site.build(ColourEncoder(OTHER_MODEL))
    names = await read_names(site.database)
    await write_names(site.database, names, names.with_shadow(other.id))
    change = await site.changes.put(await stored_product(site.store, "new", 100))
    assert [(one.snapshot, one.reason) for one in change.left_out] == [
        (other.id, f"Triton does not serve the model {OTHER_MODEL.digest[:12]}")
    ]
    assert (await site.shown(active(site), 100)).candidates[0].product_id == "new"
    with pytest.raises(CatalogError, match="change 1 of the catalogue cannot be used: it has no embeddings"):
        await site.shown(other, 100)


async def test_a_change_is_appended_again_for_a_snapshot_of_another_model_that_was_activated_meanwhile(
    site: ProductSite,
) -> None:
    encoders = {MODEL.digest: ColourEncoder(), OTHER_MODEL.digest: ColourEncoder(OTHER_MODEL)}
    other = await site.build(encoders[OTHER_MODEL.digest])
    connected = 0

    async def connect_and_activate(digest: str) -> Encoder:
        nonlocal connected
        connected += 1
        if connected == 2:  # the product is stored, and its entry is about to be appended
            await site.activate(other)
        return encoders[digest]

    changes = ProductChanges(site.store, connect_and_activate)
    change = await changes.put(await stored_product(site.store, "new", 100))
    assert change.number == 2
    assert (await site.shown(other, 100)).candidates[0].product_id == "new"


async def test_changes_are_embedded_for_a_snapshot_of_another_model_before_it_is_activated(site: ProductSite) -> None:
    other = await site.build(ColourEncoder(OTHER_MODEL))
    await site.put("new", 100)
    await site.put("new", 101)
    await site.changes.remove("p0")
    with pytest.raises(CatalogError, match="it has no embeddings by the model cdcdcdcdcdcd"):
        await site.activate(other)
    site.encoders = {MODEL.digest: ColourEncoder(), OTHER_MODEL.digest: ColourEncoder(OTHER_MODEL)}

    async def embed(_change: NamesChange) -> None:
        assert await site.changes.complete_for(other) == 2

    await change_names(site.database, lambda names: names.with_active(other.id), check=embed)
    assert (await site.shown(other, 101)).candidates[0].product_id == "new"
    site.encoders = {}
    assert await site.changes.complete_for(other) == await site.changes.complete_for(active(site)) == 0


async def test_of_two_changes_of_a_product_at_once_the_last_entry_agrees_with_the_document(site: ProductSite) -> None:
    products = [await stored_product(site.store, "p0", seed) for seed in range(100, 106)]
    await asyncio.gather(*(site.changes.put(product) for product in products))
    document = (await site.store.get_many(["p0"]))["p0"]
    *_, last = await delta_log.read_entries(
        site.database, after=0, space=space_of(active(site)).key, dimension=active(site).dimension
    )
    assert last.views == document.views


async def test_a_removal_that_was_interrupted_is_completed_by_the_next_one(site: ProductSite, tmp_path: Path) -> None:
    storage = GridFsStorage(site.database)
    await site.store.delete_many(["p0"])  # and then the process was killed
    assert await is_searched(site.store, storage, tmp_path, "p0")
    assert not await is_searched(site.store, storage, tmp_path, "unknown")
    await site.changes.remove("p0")
    assert not await is_searched(site.store, storage, tmp_path, "p0")
    await site.put("p0", 100)
    assert await is_searched(site.store, storage, tmp_path, "p0")


async def test_an_error_after_the_product_was_stored_says_so_and_a_repetition_completes_the_change(
    tmp_path: Path,
) -> None:
    server = MongoServer(tmp_path / "mongodb")
    server.start()
    try:
        async with await connect(server.uri, timeout_s=30.0) as client:
            site = ProductSite(client["test"], tmp_path)
            await site.store.upsert_many([await stored_product(site.store, "a", 1)])
            await site.activate(await site.build())
        server.stop()  # it writes everything to disk: a SIGKILL loses what was acknowledged just before
        server.start()
        async with await connect(server.uri, timeout_s=1.0) as client:
            site = ProductSite(client["test"], tmp_path, snapshots=site.snapshots)
            connected = 0

            async def connect_and_kill(_digest: str) -> Encoder:
                nonlocal connected
                connected += 1
                if connected == 2:
                    server.kill()
                return ColourEncoder()

            product = await stored_product(site.store, "new", 100)
            with pytest.raises(MongoUnavailableError) as error:
                await ProductChanges(site.store, connect_and_kill).put(product)
            assert error.value.message.endswith("product 'new' may be stored, but is not searched as it is now")
            assert error.value.hint.startswith("Run the command again")
            server.start()
        async with await connect(server.uri, timeout_s=30.0) as client:
            site = ProductSite(client["test"], tmp_path, snapshots=site.snapshots)
            assert await site.newest() == 0
            assert await site.put("new", 100) == 1
            assert (await site.shown(active(site), 100)).candidates[0].product_id == "new"
    finally:
        server.stop()
