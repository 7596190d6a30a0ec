"""Opens a stored snapshot as it is served: verified, with the model that it needs, and warm."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from framematch.catalog.changes.delta import DELTA_ROWS_MAX, Delta
from framematch.catalog.changes.delta_log import read_entries
from framematch.catalog.changes.needed_spaces import space_of
from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.snapshot import REBUILD_HINT, Snapshot, check_compatible, check_recall
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_snapshot
from framematch.core.errors import CatalogError
from framematch.core.events import ModelInfo
from framematch.core.settings import MatchingSettings, Settings
from framematch.core.settings_sources import require
from framematch.matching.matcher import Matcher
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor

Connect = Callable[[str], Awaitable[ImageEncoder]]
"""Returns a connected encoder of the model with this digest."""

# The first search over pages that no search has touched, and the first batch of a model, take several times as long.
WARM_UP_PICTURES = 1
"""How many pictures the model computes before a snapshot is served."""

_WARM_UP_BATCHES = 4
_WARM_UP_ROWS = 16


async def open_served(
    database: Database,
    snapshot_id: str | None,
    *,
    settings: Settings,
    cache_dir: Path,
    connect: Connect | None = None,
) -> ServedSnapshot:
    """Load and verify this snapshot, by default the active one, with the newest changes, and connect to its model.

    What takes CPU runs in threads. `connect` gives an encoder that somebody else owns; by default a new one is
    connected, which the caller closes: `async with served.encoder`.

    Raises:
        CatalogError: it is unknown or damaged, or cannot be written to `cache_dir`.
        ModelError: Triton does not serve its model.
        ModelMismatchError: the served model is another one, or prepares pictures in another way.
        UnavailableError: MongoDB or Triton does not answer.
    """
    storage = open_storage(settings.snapshots.url, database)
    snapshot = await load_snapshot(database, storage, cache_dir, snapshot_id)
    if connect is not None:
        encoder = await connect(snapshot.manifest.model_digest)
        return await with_newest_changes(database, await _served(snapshot, encoder, settings.matching))
    encoder = await connect_encoder(settings, snapshot.manifest.model_digest)
    try:
        return await with_newest_changes(database, await _served(snapshot, encoder, settings.matching))
    except BaseException:
        await encoder.close()
        raise


async def with_newest_changes(database: Database, served: ServedSnapshot) -> ServedSnapshot:
    """The same snapshot, index and model, with all changes up to now.

    Raises:
        CatalogError: there are more than can be searched beside a snapshot, or one is damaged.
        MongoUnavailableError: MongoDB became unavailable.
    """
    manifest = served.manifest
    space = space_of(manifest)
    entries = await read_entries(database, after=served.delta, space=space.key, dimension=space.dimension)
    if not entries:
        return served
    changes = served.changes.with_entries(entries)
    if changes.rows > DELTA_ROWS_MAX:
        raise CatalogError(
            f"since snapshot {manifest.id} was built {changes.rows} pictures were changed or removed, of at most "
            f"{DELTA_ROWS_MAX}",
            hint=REBUILD_HINT,
        )
    return replace(served, changes=changes, matcher=await asyncio.to_thread(served.matcher.with_delta, changes))


async def connect_encoder(
    settings: Settings, model_digest: str, kind: type[ImageEncoder] = ImageEncoder
) -> ImageEncoder:
    """A new connection to the model with this digest, which the caller closes.

    Raises:
        ModelError: Triton does not serve it, or not as this kind of encoder needs it.
        TritonUnavailableError: Triton does not answer, or the model is not ready.
    """
    url, timeout_s = require(settings.triton.url, "triton.url"), settings.triton.timeout_s
    return await kind.connect(
        url, model_digest, timeout_s=timeout_s, request_timeout_s=timeout_s, key=settings.triton.key
    )


async def warm_up(served: ServedSnapshot) -> None:
    """Run a few batches through model and index, so that the first frames are as fast as all others.

    Raises:
        EmbeddingError: the model does not return embeddings.
        TritonUnavailableError: Triton does not answer.
    """
    spec, generator = served.preprocessor.spec, np.random.default_rng(0)
    pixels = generator.integers(0, 256, (WARM_UP_PICTURES, spec.crop_height, spec.crop_width, 3), dtype=np.uint8)
    await served.encoder.embed(pixels)
    await asyncio.to_thread(served.matcher.warm_up)
    for _ in range(_WARM_UP_BATCHES):
        queries = generator.standard_normal((_WARM_UP_ROWS, served.manifest.dimension), dtype=np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        await asyncio.to_thread(served.matcher.match, queries)


async def _served(snapshot: Snapshot, encoder: ImageEncoder, matching: MatchingSettings) -> ServedSnapshot:
    manifest, model = snapshot.manifest, encoder.manifest
    check_compatible(manifest, model)
    check_recall(manifest)
    preprocessor = Preprocessor(model.preprocess, manifest.preprocessing_variant)
    encoder.require_preprocessing(preprocessor.digest)
    matcher = await asyncio.to_thread(
        Matcher, snapshot, k=matching.top_k, match_threshold=matching.threshold, margin_threshold=matching.margin
    )
    return ServedSnapshot(
        manifest=manifest,
        changes=Delta(manifest.delta),
        model=ModelInfo(model.name, model.digest),
        preprocessor=preprocessor,
        encoder=encoder,
        matcher=matcher,
    )
