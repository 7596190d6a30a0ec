"""The names that point to snapshots: active, previous and shadow. One document, changed by compare-and-set."""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog
from pymongo.errors import DuplicateKeyError

from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.values import DocumentError, optional_text, whole_number
from framematch.core.errors import CatalogError, StaleNamesError

log = structlog.get_logger()

_ID: Final = "snapshot_names"
_VERSION_MAX: Final = 2**53
_REPAIR_HINT = "The next 'framematch catalog activate ID' or 'framematch catalog build' replaces it"


@dataclass(frozen=True)
class SnapshotNames:
    """Which snapshot is served, which one was before, and which one decides beside it.

    `version` rises with every change; 0 when there is no document yet. `shadow_sample` is the share of frames that the
    shadow decides too.
    """

    version: int = 0
    active: str | None = None
    previous: str | None = None
    shadow: str | None = None
    shadow_sample: float = 1.0

    @property
    def needed(self) -> frozenset[str]:
        """The snapshots that a name points to."""
        return frozenset(filter(None, (self.active, self.previous, self.shadow)))

    def with_active(self, snapshot_id: str) -> "SnapshotNames":
        """These names with another active snapshot; the one before becomes the previous one."""
        if snapshot_id == self.active:
            return self
        shadow = None if snapshot_id == self.shadow else self.shadow
        previous = self.active or self.previous
        return replace(self, active=snapshot_id, previous=None if previous == snapshot_id else previous, shadow=shadow)

    def with_shadow(self, snapshot_id: str | None, sample: float = 1.0) -> "SnapshotNames":
        """These names with another shadow, or without one.

        Raises:
            CatalogError: it is the active snapshot.
        """
        if snapshot_id is not None and snapshot_id == self.active:
            raise CatalogError(
                f"snapshot {snapshot_id} is active, and no shadow of itself", hint="See 'framematch catalog snapshots'"
            )
        return replace(self, shadow=snapshot_id, shadow_sample=sample)

    def rolled_back(self) -> "SnapshotNames":
        """These names with active and previous exchanged.

        Raises:
            CatalogError: there is no previous snapshot.
        """
        if self.previous is None:
            raise CatalogError("there is no previous snapshot", hint="See 'framematch catalog snapshots'")
        return self.with_active(self.previous)

    def promoted(self) -> "SnapshotNames":
        """These names with the shadow as the active snapshot.

        Raises:
            CatalogError: there is no shadow.
        """
        if self.shadow is None:
            raise CatalogError("there is no shadow", hint="Run 'framematch catalog shadow ID' first")
        return self.with_active(self.shadow)


async def read_names(database: Database) -> SnapshotNames:
    """The names. One small read, suitable for polling.

    Raises:
        CatalogError: the document is damaged.
        MongoUnavailableError: MongoDB became unavailable.
    """
    with mongo_errors("reading the names of snapshots"):
        document = await database.meta.find_one({"_id": _ID})
    return _to_names(document) if document else SnapshotNames()


async def write_names(database: Database, before: SnapshotNames, after: SnapshotNames) -> SnapshotNames:
    """Replace `before` by `after`, with the next version; nothing is written when they are equal.

    Raises:
        StaleNamesError: somebody has changed the names since `before` was read.
        MongoUnavailableError: MongoDB became unavailable; the names may have been written.
    """
    if after == before:
        return before
    written = replace(after, version=before.version + 1)
    with mongo_errors("changing the names of snapshots"):
        if not await _replace(database, before, written):
            raise StaleNamesError(
                "the names of snapshots were changed by somebody else meanwhile",
                hint="See 'framematch catalog snapshots', and run the command again if it is still right",
            )
    log.info(
        "snapshot_names_changed", version=written.version, active=written.active, previous=written.previous,
        shadow=written.shadow,
    )  # fmt: skip
    return written


async def repair_names(database: Database) -> None:
    """Replace a damaged document by what can be read of it, so that the names can be changed again.

    Raises:
        MongoUnavailableError: MongoDB became unavailable; the document may have been repaired.
    """
    with mongo_errors("repairing the names of snapshots"):
        document = await database.meta.find_one({"_id": _ID})
        if document is None:
            return
        try:
            _to_names(document)
        except CatalogError as error:
            log.warning("snapshot_names_repaired", error=error.message)
            # The filter keeps what another operator has written since.
            damaged = {"_id": _ID, "version": {"$eq": document.get("version")}}
            await database.meta.replace_one(damaged, msgspec.to_builtins(_repaired(document)))


async def confirm_names(database: Database) -> SnapshotNames:
    """The names, written again with the next version: a change that was prepared before this cannot be written.

    Raises:
        CatalogError: the document is damaged.
        MongoUnavailableError: MongoDB became unavailable.
    """
    while True:
        names = await read_names(database)
        confirmed = replace(names, version=names.version + 1)
        with mongo_errors("confirming the names of snapshots"):
            if await _replace(database, names, confirmed):
                return confirmed


def expect_active(names: SnapshotNames, expected: str | None) -> None:
    """Check that the active snapshot is the one that the operator has seen; None expects nothing.

    Raises:
        StaleNamesError: another one is active.
    """
    if expected is not None and names.active != expected:
        raise StaleNamesError(
            f"the active snapshot is {names.active or 'none'}, not {expected}",
            hint="Somebody has changed it: see 'framematch catalog snapshots'",
        )


async def _replace(database: Database, before: SnapshotNames, written: SnapshotNames) -> bool:
    fields = msgspec.to_builtins(written)
    if before.version:
        result = await database.meta.replace_one({"_id": _ID, "version": before.version}, fields)
        return result.matched_count == 1
    try:
        await database.meta.insert_one({"_id": _ID, **fields})
    except DuplicateKeyError:
        return False
    return True


def _to_names(document: Document) -> SnapshotNames:
    try:
        return SnapshotNames(
            version=_version(document),
            active=optional_text(document, "active"),
            previous=optional_text(document, "previous"),
            shadow=optional_text(document, "shadow"),
            shadow_sample=_share(document, "shadow_sample"),
        )
    except DocumentError as error:
        raise CatalogError(
            f"the document {_ID!r} of the collection meta is damaged: {error}", hint=_REPAIR_HINT
        ) from None


def _repaired(document: Document) -> SnapshotNames:
    """What is intact in a damaged document, with a version that whoever polls it has not seen."""
    intact: dict[str, str | None] = {}
    for field in ("active", "previous", "shadow"):
        with suppress(DocumentError):
            intact[field] = optional_text(document, field)
    try:
        version = _version(document) + 1
    except DocumentError:
        version = int(time.time())  # nobody counts up to it
    return SnapshotNames(version, intact.get("active"), intact.get("previous"), intact.get("shadow"))


def _version(document: Document) -> int:
    version = whole_number(document, "version", at_least=1)
    if version > _VERSION_MAX:
        raise DocumentError(f"version is {version}, which nobody counts up to")
    return version


def _share(document: Document, field: str) -> float:
    value = document.get(field, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise DocumentError(f"{field} is no share from 0 to 1")
    return float(value)
