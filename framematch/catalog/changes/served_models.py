"""Opens what embeds changes of single products, with the models that Triton serves."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from framematch.catalog.changes.product_changes import ProductChanges
from framematch.catalog.mongo import Database
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshots.store import load_manifest
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.vision.encoder import ImageEncoder


@asynccontextmanager
async def open_product_changes(settings: Settings, database: Database) -> AsyncIterator[ProductChanges]:
    """Changes of products in this database. Triton is connected when a picture has to be embedded."""
    encoders: dict[str, ImageEncoder] = {}
    async with AsyncExitStack() as resources:

        async def connect(digest: str) -> ImageEncoder:
            if digest not in encoders:
                url, triton = require(settings.triton.url, "triton.url"), settings.triton
                encoder = await ImageEncoder.connect(url, digest, timeout_s=triton.timeout_s, key=triton.key)
                encoders[digest] = await resources.enter_async_context(encoder)
            return encoders[digest]

        yield ProductChanges(ProductStore(database), connect)


async def embed_changes(settings: Settings, database: Database, snapshot_ids: Iterable[str]) -> None:
    """Embed the changes of products since these snapshots were built, if they are of models that were not in use then.

    Call it before the snapshots get a name, and afterwards for what was changed meanwhile.

    Raises:
        CatalogError: a snapshot is unknown, or the picture of a change is damaged.
        ModelError: Triton does not serve the model of a snapshot.
        UnavailableError: MongoDB or Triton became unavailable.
    """
    async with open_product_changes(settings, database) as changes:
        for snapshot_id in snapshot_ids:
            await changes.complete_for(await load_manifest(database, snapshot_id))
