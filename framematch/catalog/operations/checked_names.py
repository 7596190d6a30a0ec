"""Changes the names of snapshots, after checking that Triton serves the model that a snapshot needs."""

from collections.abc import Awaitable, Callable

from framematch.catalog.changes.served_models import embed_changes
from framematch.catalog.mongo import Database
from framematch.catalog.operations.activation import NamesChange, change_names
from framematch.catalog.snapshots.listing import find_snapshot
from framematch.catalog.snapshots.names import SnapshotNames
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.store import load_manifest
from framematch.core.errors import ModelError, TritonUnavailableError
from framematch.core.settings import Settings
from framematch.vision.served_models import list_served_models

_TRITON_TIMEOUT_MAX_S = 3.0


async def change_names_checked(
    settings: Settings,
    database: Database,
    change: Callable[[SnapshotNames], SnapshotNames],
    *,
    expect: str | None = None,
    check: Callable[[NamesChange], Awaitable[None]] | None = None,
    on_warning: Callable[[str], None],
) -> NamesChange:
    """`change_names`, where Triton has to serve the model of a snapshot that becomes active or the shadow.

    `expect` is an id or the start of one. Without an address of Triton the model is not checked. A Triton that does not
    answer is a warning, so that a rollback is possible while it is away; `on_warning` takes it.

    Raises:
        ModelError: Triton does not serve the model.
        FramematchError: as `change_names`, and `check`.
    """

    async def check_all(wanted: NamesChange) -> None:
        if check is not None:
            await check(wanted)
        for snapshot_id in _newly_named(wanted):
            await _check_model(settings, database, snapshot_id, on_warning)
        await embed_changes(settings, database, _newly_named(wanted))

    expected = None if expect is None else await find_snapshot(database, expect)
    changed = await change_names(database, change, expect=expected, check=check_all)
    await embed_changes(settings, database, _newly_named(changed))  # what was changed meanwhile
    return changed


def _newly_named(wanted: NamesChange) -> list[str]:
    before, after = wanted.before, wanted.after
    pairs = ((before.active, after.active), (before.shadow, after.shadow))
    return [new for old, new in pairs if new is not None and new != old]


async def check_model_served(settings: Settings, manifest: SnapshotManifest, *, timeout_s: float) -> None:
    """Check that Triton serves the model of a snapshot; nothing without an address of Triton.

    Raises:
        ModelError: it serves others.
        TritonUnavailableError: it does not answer in that time.
    """
    if (url := settings.triton.url) is None:
        return
    served = await list_served_models(url, timeout_s=min(settings.triton.timeout_s, timeout_s))
    if manifest.model_digest not in {model.manifest.digest for model in served}:
        names = ", ".join(model.name for model in served) or "none"
        raise ModelError(
            f"snapshot {manifest.id} needs the model {manifest.model_name} ({manifest.model_digest[:12]}), and Triton "
            f"at {url} serves {names}",
            hint="Build the model again with 'framematch model build': it is served beside the others",
        )


async def _check_model(
    settings: Settings, database: Database, snapshot_id: str, on_warning: Callable[[str], None]
) -> None:
    manifest = await load_manifest(database, snapshot_id)
    try:
        await check_model_served(settings, manifest, timeout_s=_TRITON_TIMEOUT_MAX_S)
    except TritonUnavailableError as error:
        on_warning(f"it is not known whether Triton serves the model of {snapshot_id}: {error.message}")
