"""Changes one product of the catalogue, so that all consumers search it within seconds, without a build."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framematch.catalog.changes import delta_log
from framematch.catalog.changes.needed_spaces import LeftOut, NeededSpaces, read_needed_spaces, space_of
from framematch.catalog.embeddings.picture_embedder import Encoder, PictureEmbedder, Pictures
from framematch.catalog.embeddings.store import EmbeddingStore
from framematch.catalog.product_writes import ProductWrite
from framematch.catalog.products import Product, ProductStore, View
from framematch.catalog.snapshots.snapshot import SnapshotManifest, check_compatible
from framematch.catalog.snapshots.storage import SnapshotStorage
from framematch.catalog.snapshots.store import load_rows
from framematch.core.arrays import Embeddings
from framematch.core.errors import FramematchError, ModelError, StaleProductError, TritonUnavailableError
from framematch.vision.preprocess import Preprocessor

ConnectEncoder = Callable[[str], Awaitable[Encoder]]
"""Returns an encoder of the model with this digest, or raises as `ImageEncoder.connect`. Its owner closes it."""

_REPEAT_HINT = "Run the command again, which completes it; or run 'framematch catalog build'"


@dataclass(frozen=True)
class PublishedChange:
    """A change of a product that consumers are about to search.

    `number` is that of the change; None when no snapshot is active, so that nothing is searched before a build.
    `left_out` are snapshots in use, other than the active one, that cannot be served with the change.
    """

    product_id: str
    number: int | None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class ProductChanges:
    """Changes single products. Several processes may do so at once.

    A change is the product's document, and then an entry in the log, which consumers read. If it is interrupted between
    the two, consumers search the product as it was; the same change again, or a build, completes it.
    """

    store: ProductStore
    connect: ConnectEncoder

    async def put(self, product: Product, write: ProductWrite | None = None) -> PublishedChange:
        """Add a product whose images are stored, or replace the one with its id.

        `write` writes its document, or refuses to (`product_writes`); by default it replaces whatever there is.

        Raises:
            CatalogError: there are too many changes since the last build, or an image is missing or damaged.
            StaleProductError: `write` refuses; nothing is changed.
            ModelError: Triton does not serve the model of the active snapshot, or it returned no embedding.
            UnavailableError: MongoDB or Triton became unavailable.
        """
        spaces = await read_needed_spaces(self.store.database)
        if spaces is not None:
            # What may fail comes before anything is changed. The embeddings are kept for what follows.
            await self._check_room(product.id, len(product.views), spaces)
            await self._embed(product.id, product.views, spaces)
        with _unfinished(f"product {product.id!r} may be stored, but is not searched as it is now"):
            await (write() if write else self.store.upsert_many([product]))
            return await self._publish(product.id)

    async def remove(self, product_id: str, write: ProductWrite | None = None) -> PublishedChange:
        """Remove a product. Triton is not needed. `write` deletes its document, as in `put`.

        Raises:
            CatalogError: there are too many changes since the last build.
            StaleProductError: `write` refuses; nothing is changed.
            MongoUnavailableError: MongoDB became unavailable.
        """
        spaces = await read_needed_spaces(self.store.database)
        if spaces is not None:
            await self._check_room(product_id, 0, spaces)
        with _unfinished(f"product {product_id!r} may be removed, but is still searched"):
            await (write() if write else self.store.delete_many([product_id]))
            return await self._publish(product_id)

    async def complete_for(self, manifest: SnapshotManifest) -> int:
        """Embed the changes since a snapshot was built which its model has not embedded yet; returns how many.

        Call it before a snapshot gets a name, and again afterwards, for what was changed in between. Most often there
        is nothing to do, and no encoder is needed.

        Raises:
            CatalogError: an image of a change is missing or damaged.
            ModelError: Triton does not serve the model of the snapshot, or it returned no embedding.
            UnavailableError: MongoDB or Triton became unavailable.
        """
        database, space = self.store.database, space_of(manifest).key
        missing = await delta_log.changes_without(database, space, after=manifest.delta)
        for number, (product_id, views) in missing.items():
            embeddings = await self._embed_for(manifest, product_id, views)
            await delta_log.add_embeddings(database, number, space, embeddings)
        return len(missing)

    async def _check_room(self, product_id: str, views: int, spaces: NeededSpaces) -> None:
        await delta_log.check_room(self.store.database, product_id, views, base=spaces.active.delta)

    async def _publish(self, product_id: str) -> PublishedChange:
        """Append what the product's document says, until neither the document nor the needed spaces change meanwhile.

        So the last entry of a product agrees with its document, whoever else changes it at the same time.
        """
        spaces, views = await self._read_state(product_id)
        while spaces is not None:
            appended = spaces, views
            vectors, left_out = await self._embed(product_id, views, spaces)
            number = await delta_log.append(self.store.database, product_id, views, vectors, base=spaces.active.delta)
            spaces, views = await self._read_state(product_id)
            if spaces is not None and views == appended[1] and spaces.keys <= appended[0].keys:
                return PublishedChange(product_id, number, left_out)
        return PublishedChange(product_id, None)

    async def _read_state(self, product_id: str) -> tuple[NeededSpaces | None, tuple[View, ...]]:
        spaces = await read_needed_spaces(self.store.database)
        product = (await self.store.get_many([product_id])).get(product_id)
        return spaces, product.views if product else ()

    async def _embed(
        self, product_id: str, views: Sequence[View], spaces: NeededSpaces
    ) -> tuple[dict[str, Embeddings], tuple[LeftOut, ...]]:
        """The embeddings of the views in each space, by its key, and the snapshots for which there are none."""
        if not views:
            return {}, ()
        vectors, left_out = {}, list(spaces.unusable)
        for manifest in spaces.manifests:
            try:
                vectors[space_of(manifest).key] = await self._embed_for(manifest, product_id, views)
            except (ModelError, TritonUnavailableError) as error:
                if manifest is spaces.active:
                    raise
                left_out.append(LeftOut(manifest.id, error.message))
        return vectors, tuple(left_out)

    async def _embed_for(self, manifest: SnapshotManifest, product_id: str, views: Sequence[View]) -> Embeddings:
        """The embeddings of the views in the space of a snapshot, float32 [views, D]."""
        encoder = await self.connect(manifest.model_digest)
        check_compatible(manifest, encoder.manifest)
        preprocessor = Preprocessor(encoder.manifest.preprocess, manifest.preprocessing_variant)
        kept = EmbeddingStore(self.store.database, space_of(manifest))
        pictures = list(dict.fromkeys(view.image for view in views))
        vectors = np.empty((len(pictures), manifest.dimension), np.float32)
        embedder = PictureEmbedder(self.store, kept, encoder, preprocessor)
        await embedder.embed(Pictures(pictures, [product_id] * len(pictures)), vectors, lambda _done, _total: None)
        return vectors[[pictures.index(view.image) for view in views]]


async def is_searched(store: ProductStore, storage: SnapshotStorage, cache_dir: Path, product_id: str) -> bool:
    """Whether the active snapshot is served with this product, though its document may be gone.

    That is so when a removal was interrupted. Reads the snapshot's table of rows, unless the product was changed since.

    Raises:
        CatalogError: the names or the active snapshot are damaged.
        UnavailableError: MongoDB or the storage became unavailable.
    """
    spaces = await read_needed_spaces(store.database)
    if spaces is None:
        return False
    removed = await delta_log.was_removed(store.database, product_id, after=spaces.active.delta)
    if removed is not None:
        return not removed
    return product_id in (await load_rows(storage, cache_dir, spaces.active)).product_ids


@contextmanager
def _unfinished(state: str) -> Iterator[None]:
    """Say in what state an error leaves the product, and what to do."""
    try:
        yield
    except StaleProductError:  # nothing was written
        raise
    except FramematchError as error:
        error.message, error.hint = f"{error.message}; {state}", _REPEAT_HINT
        raise
