"""A small catalogue in MongoDB whose products are changed one by one, with fake encoders."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from framematch.catalog.building.build import BuildReport, build_snapshot
from framematch.catalog.changes.delta import Delta
from framematch.catalog.changes.delta_log import newest_number, read_entries
from framematch.catalog.changes.needed_spaces import space_of
from framematch.catalog.changes.product_changes import ProductChanges
from framematch.catalog.embeddings.picture_embedder import Encoder
from framematch.catalog.images import decode_rgb
from framematch.catalog.mongo import Database
from framematch.catalog.operations.activation import activate
from framematch.catalog.products import Product, ProductStore, StoredImage, View
from framematch.catalog.snapshots.snapshot import SnapshotManifest, open_snapshot
from framematch.catalog.snapshots.storage_gridfs import GridFsStorage
from framematch.catalog.snapshots.store import save_snapshot
from framematch.core.errors import ModelError
from framematch.matching.decision import Decision
from framematch.matching.matcher import Matcher
from framematch.vision.preprocess import Preprocessor
from tests.unit.catalog.snapshots import MODEL, SPEC, ColourEncoder, image_digest, picture

OTHER_MODEL = replace(MODEL, name="others", digest="cd" * 32)
PREPROCESSOR = Preprocessor(SPEC, "fast")


async def stored_product(store: ProductStore, product_id: str, *pictures: int) -> Product:
    """A product with these pictures, which are stored; its document is not."""
    views = []
    for seed in pictures:
        data = picture(seed)
        views.append(View(image_digest(data), 24, 24))
        await store.put_images([StoredImage(views[-1], data)])
    return Product(product_id, product_id.upper(), views=tuple(views))


@dataclass
class ProductSite:
    """The catalogue, and the models that are served, by digest. Snapshots are built in `folder`."""

    database: Database
    folder: Path
    encoders: Mapping[str, Encoder] = field(default_factory=lambda: {MODEL.digest: ColourEncoder()})
    snapshots: dict[str, tuple[SnapshotManifest, Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = ProductStore(self.database)
        self.changes = ProductChanges(self.store, self.connect)

    async def connect(self, digest: str) -> Encoder:
        """An encoder, as Triton serves it."""
        if digest not in self.encoders:
            raise ModelError(f"Triton does not serve the model {digest[:12]}")
        return self.encoders[digest]

    async def put(self, product_id: str, *pictures: int) -> int | None:
        """Add or change a product by itself; returns the number of the change."""
        return (await self.changes.put(await stored_product(self.store, product_id, *pictures))).number

    async def build(self, encoder: Encoder | None = None, report: BuildReport | None = None) -> SnapshotManifest:
        """Build and store a snapshot."""
        folder = self.folder / f"snapshot-{len(self.snapshots)}"
        folder.mkdir()
        manifest = await build_snapshot(self.store, encoder or ColourEncoder(), PREPROCESSOR, folder, report=report)
        await save_snapshot(self.database, GridFsStorage(self.database), manifest, folder)
        self.snapshots[manifest.id] = manifest, folder
        return manifest

    async def activate(self, manifest: SnapshotManifest) -> None:
        """Make a snapshot the active one."""
        await activate(self.database, manifest.id)

    async def matcher(self, manifest: SnapshotManifest) -> Matcher:
        """A matcher as a consumer serves it, with all changes."""
        entries = await read_entries(
            self.database, after=manifest.delta, space=space_of(manifest).key, dimension=manifest.dimension
        )
        return Matcher(open_snapshot(*self.snapshots[manifest.id])).with_delta(
            Delta(manifest.delta).with_entries(entries)
        )

    async def shown(self, manifest: SnapshotManifest, seed: int) -> Decision:
        """The decision for a picture."""
        pixels = np.stack([PREPROCESSOR(decode_rgb(picture(seed)))])
        (decision,) = (await self.matcher(manifest)).match(await ColourEncoder().embed(pixels))
        return decision

    async def newest(self) -> int:
        """The number of the newest change."""
        return await newest_number(self.database)
