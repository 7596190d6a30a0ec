"""Snapshots of the index: list, build, activate, compare, delete."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from framematch.api.access.policy import access
from framematch.api.idempotency import IdempotencyKey
from framematch.api.paging import PAGE_SIZE
from framematch.api.problems import Problem
from framematch.api.routes.operations import ACCEPTED, accepted, start
from framematch.api.schemas.operations import OperationAnswer
from framematch.api.schemas.pages import PageSize, PageToken
from framematch.api.schemas.problem import problems
from framematch.api.schemas.shadow_report import CameraShare, ShadowReportAnswer
from framematch.api.schemas.snapshots import (
    ActivateBody,
    BuildBody,
    CalibrateBody,
    DiffAnswer,
    DiffBody,
    NamesChangeAnswer,
    ShadowBody,
    SnapshotAnswer,
    SnapshotList,
)
from framematch.api.services import CurrentPrincipal, CurrentServices, Services
from framematch.catalog.operations.checked_names import change_names_checked
from framematch.catalog.operations.overview import Overview, read_overview
from framematch.catalog.operations.prune import delete_snapshot
from framematch.catalog.snapshots.diff import diff_snapshots
from framematch.catalog.snapshots.listing import StoredSnapshot
from framematch.catalog.snapshots.names import SnapshotNames, read_names, repair_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_manifest, load_rows, stored_ids
from framematch.core.errors import StaleNamesError
from framematch.core.paths import state_dir
from framematch.matching.shadow.store import read_report

router = APIRouter(tags=["snapshots"])

_NAMES = ("active", "previous", "shadow")

SnapshotRef = Annotated[str, Path(description="an id, or active, previous or shadow", max_length=64)]


@router.get("/v1/snapshots", summary="List snapshots", openapi_extra=access("read"))
async def list_snapshots(
    services: CurrentServices, page_size: PageSize = PAGE_SIZE, page_token: PageToken = None
) -> SnapshotList:
    """Snapshots, the newest first, with their names and the processes that serve them."""
    overview, query = await read_overview(services.database), {"snapshots": 1}
    before = None if not page_token else tuple(services.page_tokens.open(page_token, query))
    rest = [one for one in overview.snapshots if before is None or one.age < before]
    page = rest[:page_size]
    token = services.page_tokens.sign(list(page[-1].age), query) if len(rest) > page_size else None
    return SnapshotList(items=[SnapshotAnswer.of(one, overview) for one in page], next_page_token=token)


@router.post(
    "/v1/snapshots",
    summary="Build a snapshot",
    status_code=202,
    openapi_extra=access("operate"),
    responses={**problems(409, 503), **ACCEPTED},
)
async def build_snapshot(
    services: CurrentServices,
    principal: CurrentPrincipal,
    response: Response,
    body: BuildBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationAnswer:
    """Build an index of all products. Only pictures that are new to the model are embedded."""
    parameters = (body or BuildBody()).model_dump()
    return accepted(await start(services, principal, "build", parameters, idempotency_key), response)


@router.post(
    "/v1/snapshots:calibrate",
    summary="Calibrate the active snapshot",
    status_code=202,
    openapi_extra=access("operate"),
    responses={**problems(409, 503), **ACCEPTED},
)
async def calibrate_snapshot(
    services: CurrentServices,
    principal: CurrentPrincipal,
    response: Response,
    body: CalibrateBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationAnswer:
    """Store the active snapshot anew with thresholds that have stated error rates, from the labelled pictures kept.

    The operation fails with too few pictures, and says how many are missing; then nothing is changed.
    """
    parameters = (body or CalibrateBody()).model_dump()
    return accepted(await start(services, principal, "calibrate", parameters, idempotency_key), response)


@router.post(
    "/v1/snapshots:rollback",
    summary="Activate the previous snapshot",
    openapi_extra=access("operate"),
    responses=problems(409, 503),
)
async def rollback(body: ActivateBody, services: CurrentServices) -> NamesChangeAnswer:
    """Exchange the active and the previous snapshot."""
    return await _change(services, body.expected_active, SnapshotNames.rolled_back)


@router.post(
    "/v1/snapshots:diff",
    summary="Compare two snapshots",
    openapi_extra=access("read"),
    responses=problems(404, 409, 503),
)
async def diff(body: DiffBody, services: CurrentServices) -> DiffAnswer:
    """Which products were added, removed, or have other pictures, and what else differs."""
    before, after = await _manifest(services, body.before), await _manifest(services, body.after)
    storage, cache_dir = open_storage(services.settings.snapshots.url, services.database), state_dir() / "snapshots"
    before_rows = await load_rows(storage, cache_dir, before)
    after_rows = await load_rows(storage, cache_dir, after)
    found = await asyncio.to_thread(diff_snapshots, before, before_rows, after, after_rows)
    return DiffAnswer.of(before.id, after.id, found, body.limit)


@router.get(
    "/v1/snapshots/{snapshot}", summary="Read a snapshot", openapi_extra=access("read"), responses=problems(404)
)
async def get_snapshot(snapshot: SnapshotRef, services: CurrentServices) -> SnapshotAnswer:
    """What is in a snapshot, what it needs, and which processes serve it."""
    overview = await read_overview(services.database)
    if overview.names_error is not None and snapshot in _NAMES:
        raise overview.names_error
    return SnapshotAnswer.of(_found(overview, snapshot), overview)


@router.delete(
    "/v1/snapshots/{snapshot}",
    summary="Delete a snapshot",
    status_code=204,
    openapi_extra=access("operate"),
    responses=problems(404, 409, 503),
)
async def remove_snapshot(snapshot: SnapshotRef, services: CurrentServices) -> None:
    """Delete a snapshot that has no name, and what only it needed. Processes that still serve it are not disturbed."""
    snapshot_id = await _id(services, snapshot)
    storage = open_storage(services.settings.snapshots.url, services.database)
    await delete_snapshot(services.database, storage, snapshot_id)


@router.post(
    "/v1/snapshots/{snapshot}:activate",
    summary="Activate a snapshot",
    openapi_extra=access("operate"),
    responses=problems(404, 409, 503),
)
async def activate(snapshot: SnapshotRef, body: ActivateBody, services: CurrentServices) -> NamesChangeAnswer:
    """Let all processes serve this snapshot, without a pause. The one before becomes the previous one."""
    await repair_names(services.database)
    snapshot_id = await _id(services, snapshot)
    return await _change(services, body.expected_active, lambda names: names.with_active(snapshot_id))


@router.post(
    "/v1/snapshots/{snapshot}:shadow",
    summary="Let a snapshot decide beside the active one",
    openapi_extra=access("operate"),
    responses=problems(404, 409, 503),
)
async def shadow(snapshot: SnapshotRef, body: ShadowBody, services: CurrentServices) -> NamesChangeAnswer:
    """It decides frames that the active one decides, and publishes nothing; the report compares both."""
    snapshot_id = await _id(services, snapshot)
    return await _change(services, body.expected_active, lambda names: names.with_shadow(snapshot_id, body.sample))


@router.post(
    "/v1/snapshots/{snapshot}:end_shadow",
    summary="End a shadow",
    openapi_extra=access("operate"),
    responses=problems(404, 409, 503),
)
async def end_shadow(snapshot: SnapshotRef, services: CurrentServices) -> NamesChangeAnswer:
    """Let it decide no more. What was counted stays."""
    snapshot_id = await _id(services, snapshot)

    def change(names: SnapshotNames) -> SnapshotNames:
        return names.with_shadow(None) if names.shadow == snapshot_id else names

    names = await read_names(services.database)
    return await _change(services, names.active, change)


@router.get(
    "/v1/snapshots/{snapshot}/shadow_report",
    summary="Compare a shadow's decisions",
    openapi_extra=access("read"),
    responses=problems(404, 409),
)
async def shadow_report(
    snapshot: SnapshotRef,
    services: CurrentServices,
    principal: CurrentPrincipal,
    active: Annotated[str, Query(description="the snapshot that was active", max_length=64)] = "active",
) -> ShadowReportAnswer:
    """How often this snapshot decided otherwise than the active one, as the consumers have counted it."""
    shadow_id, active_id = await _id(services, snapshot), await _id(services, active)
    report = await read_report(services.database, active_id, shadow_id)
    cameras = [
        CameraShare(camera=one.camera, regions=one.regions, changed=one.changed)
        for one in report.counts.cameras
        if principal.sees(one.camera)
    ]
    return ShadowReportAnswer.of(report, cameras)


async def _change(
    services: Services, expected_active: str | None, change: Callable[[SnapshotNames], SnapshotNames]
) -> NamesChangeAnswer:
    """Change the names if the active snapshot is the expected one.

    Raises:
        StaleNamesError: it is another one, or somebody changed the names at the same time.
        FramematchError: as `change_names_checked`.
    """

    def expected(names: SnapshotNames) -> SnapshotNames:
        if names.active != expected_active:
            raise StaleNamesError(
                f"the active snapshot is {names.active or 'none'}, not {expected_active or 'none'}",
                hint="Somebody has changed it: read /v1/snapshots, and repeat it if it is still right",
            )
        return change(names)

    warnings: list[str] = []
    changed = await change_names_checked(services.settings, services.database, expected, on_warning=warnings.append)
    return NamesChangeAnswer.of(changed, warnings)


async def _id(services: Services, reference: str) -> str:
    """The id of a snapshot that exists, by its id or a name.

    Raises:
        Problem: there is none (404).
        CatalogError: the names are damaged.
    """
    snapshot_id: str | None = reference
    if reference in _NAMES:
        names = await read_names(services.database)
        snapshot_id = {"active": names.active, "previous": names.previous, "shadow": names.shadow}[reference]
    if snapshot_id is None or snapshot_id not in map(str, await stored_ids(services.database)):
        raise _unknown(reference)
    return snapshot_id


async def _manifest(services: Services, reference: str) -> SnapshotManifest:
    return await load_manifest(services.database, await _id(services, reference))


def _found(overview: Overview, reference: str) -> StoredSnapshot:
    names = {"active": overview.names.active, "previous": overview.names.previous, "shadow": overview.names.shadow}
    snapshot_id = names.get(reference, reference)
    for snapshot in overview.snapshots:
        if snapshot.id == snapshot_id:
            return snapshot
    raise _unknown(reference)


def _unknown(reference: str) -> Problem:
    text = f"no snapshot is {reference}" if reference in _NAMES else f"there is no snapshot {reference!r}"
    return Problem(404, "not_found", text, hint="GET /v1/snapshots lists them")
