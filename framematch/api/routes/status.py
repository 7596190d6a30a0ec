"""`/v1/status`: the state of the servers, of this process, and of all that serve a snapshot."""

import asyncio
from collections.abc import Awaitable, Sequence
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter

from framematch.api.access.policy import access
from framematch.api.schemas.status import (
    NamedSnapshots,
    PartStatus,
    RefusedSnapshotStatus,
    ServedSnapshotStatus,
    ServingProcessStatus,
    StatusModel,
)
from framematch.api.services import CurrentServices
from framematch.catalog.snapshots.names import SnapshotNames
from framematch.catalog.snapshots.serving_status import ServingStatus, read_statuses
from framematch.core.errors import FramematchError
from framematch.core.redact import redact_url
from framematch.core.settings_sources import require
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.triton_client import ask_ready

router = APIRouter(tags=["status"])

_PATIENCE_S: Final = 2.0
"""A server that takes longer is away for whoever looks at the state of things."""


@router.get("/v1/status", summary="State of servers and processes", openapi_extra=access("read"))
async def get_status(services: CurrentServices) -> StatusModel:
    """The state of Kafka, MongoDB and Triton as this process sees it, and which process serves which snapshot.

    The answer is 200 also when something is wrong: `ok` and `parts` say what. For probes there are /healthz and
    /readyz.
    """
    processes: list[ServingStatus] | None = None

    async def ask_mongodb() -> None:
        nonlocal processes
        processes = await read_statuses(services.database)

    url = require(services.settings.triton.url, "triton.url")
    asked = {"mongodb": ask_mongodb(), "triton": ask_ready(url, _PATIENCE_S)}
    answers = await asyncio.gather(*(_state(question) for question in asked.values()))
    parts = services.health.report() | dict(zip(asked, answers, strict=True))
    return status_of(parts, services.watcher.names, services.watcher.active, processes)


def status_of(
    parts: dict[str, str],
    names: SnapshotNames,
    served: ServedSnapshot | None,
    processes: Sequence[ServingStatus] | None,
) -> StatusModel:
    """The answer, from the state of each part as /readyz words it, and from what the processes serve."""
    states = [PartStatus(name=name, ok=_works(text), detail=redact_url(text)) for name, text in sorted(parts.items())]
    in_step = processes is not None and all(one.snapshot == names.active and not one.refused for one in processes)
    return StatusModel(
        version=version("framematch"),
        ok=in_step and served is not None and all(state.ok for state in states),
        parts=states,
        snapshots=NamedSnapshots(active=names.active, previous=names.previous, shadow=names.shadow),
        served=None if served is None else _served(served),
        processes=None if processes is None else [_process(one) for one in processes],
    )


def _works(text: str) -> bool:
    return text == "ok" or text.startswith("ok (")


def _served(served: ServedSnapshot) -> ServedSnapshotStatus:
    manifest = served.manifest
    return ServedSnapshotStatus(
        id=manifest.id,
        created_at=manifest.created_at,
        model=manifest.model_name,
        products=manifest.products,
        views=manifest.rows,
        delta=served.delta,
    )


def _process(found: ServingStatus) -> ServingProcessStatus:
    refused = found.refused
    return ServingProcessStatus(
        service=found.service,
        host=found.host,
        pid=found.pid,
        snapshot=found.snapshot,
        delta=found.delta,
        shadow=found.shadow,
        refused=RefusedSnapshotStatus(snapshot=refused.snapshot, reason=refused.reason) if refused else None,
        stale_cameras=list(found.stale_cameras),
    )


async def _state(question: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await question
    except FramematchError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {_PATIENCE_S:g} s"
    return "ok"
