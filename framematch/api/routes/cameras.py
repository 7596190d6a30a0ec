"""Cameras: list, read, put, change and remove them, see how they are, and check settings without a camera."""

from bisect import bisect_right
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Response

from framematch.api.access.policy import access
from framematch.api.access.principal import Principal
from framematch.api.cameras.changes import Draft, problems_of
from framematch.api.cameras.directory import CameraDirectory
from framematch.api.cameras.view import CameraView, Shown, edges_of
from framematch.api.etags import CurrentConditions, quoted
from framematch.api.merge_patch import merge_patch
from framematch.api.paging import PAGE_SIZE
from framematch.api.problems import Problem
from framematch.api.schemas.cameras import (
    Camera,
    CameraCheck,
    CameraList,
    CameraPatch,
    CameraPut,
    CameraReport,
    CameraValidate,
    EdgeName,
    FieldNote,
    Refused,
)
from framematch.api.schemas.pages import PageSize, PageToken
from framematch.api.schemas.problem import problems
from framematch.api.services import CurrentPrincipal, CurrentServices
from framematch.core.camera_settings import check_url, masked
from framematch.core.frames import CAMERA_PATTERN
from framematch.core.timestamps import now_us

router = APIRouter(tags=["cameras"])

CameraId = Annotated[str, Path(pattern=CAMERA_PATTERN, description="id of the camera", examples=["till-1"])]
_MERGE_PATCH = {
    "requestBody": {
        "content": {"application/merge-patch+json": {"schema": {"$ref": "#/components/schemas/CameraPatch"}}}
    }
}


@router.get(
    "/v1/cameras", summary="List cameras", openapi_extra=access("read"),
    responses=problems(503),
)  # fmt: skip
async def list_cameras(
    *,
    services: CurrentServices,
    principal: CurrentPrincipal,
    edge: Annotated[EdgeName | None, Query(description="only cameras of this edge")] = None,
    state: Annotated[Shown | None, Query(description="only cameras in this state")] = None,
    page_size: PageSize = PAGE_SIZE,
    page_token: PageToken = None,
) -> CameraList:
    """Wanted cameras and those of the edges' own files, in the order of their ids, as far as the key may see them."""
    query = {"list": "cameras", "edge": edge, "state": state}
    after = str(services.page_tokens.open(page_token, query)[0]) if page_token else ""
    cameras, at_us = services.cameras.all(), now_us()
    ids = list(cameras)
    found: list[Camera] = []
    for camera in ids[bisect_right(ids, after) :]:
        shown = _shown(cameras[camera], at_us)
        if principal.sees(camera) and edge in (None, shown.edge) and state in (None, shown.state):
            if len(found) == page_size:
                token = services.page_tokens.sign([found[-1].camera], query)
                return CameraList(items=found, next_page_token=token, note=services.cameras.note)
            found.append(shown)
    return CameraList(items=found, note=services.cameras.note)


@router.get(
    "/v1/cameras/{camera}", summary="Read a camera", openapi_extra=access("read"),
    responses=problems(404, 503),
)  # fmt: skip
async def get_camera(
    camera: CameraId, services: CurrentServices, principal: CurrentPrincipal, response: Response
) -> Camera:
    """What is wanted of the camera, whether its edge has it, and how the camera is."""
    return _answer(_known(services.cameras, principal, camera), response)


@router.get(
    "/v1/cameras/{camera}/status", summary="Read what the edge reports",
    openapi_extra=access("read"), responses=problems(404, 503),
)  # fmt: skip
async def get_camera_status(camera: CameraId, services: CurrentServices, principal: CurrentPrincipal) -> CameraReport:
    """The last status of the camera, as its edge published it: rates, drops, frames on disk, resolution."""
    view = _known(services.cameras, principal, camera)
    if view.status is None:
        raise Problem(404, "not_found", f"no edge has reported camera {camera} yet", hint="Is its edge running?")
    return CameraReport.model_validate(msgspec.to_builtins(view.status))


@router.put(
    "/v1/cameras/{camera}", summary="Create or replace a camera",
    openapi_extra=access("operate"),
    responses={201: {"description": "Created", "model": Camera}, **problems(404, 412, 503)},
)  # fmt: skip
async def put_camera(
    *,
    camera: CameraId,
    body: CameraPut,
    services: CurrentServices,
    principal: CurrentPrincipal,
    response: Response,
    conditions: CurrentConditions,
) -> Camera:
    """Say what an edge is to run; it starts or changes the camera within seconds, and no other one is interrupted.

    Without a source the camera keeps the one that it has. A camera of an edge's own file goes on as it is until it is
    removed there.
    """
    _must_see(principal, camera)
    created = False

    def decide(present: CameraView | None) -> Draft:
        nonlocal created
        created = present is None or present.managed == "file"
        conditions.check(_etag(present))
        return Draft(body.edge, body.settings, body.source)

    view = await services.cameras.change(camera, decide)
    response.status_code = 201 if created else 200
    return _answer(_still_there(view, camera), response)


@router.patch(
    "/v1/cameras/{camera}", summary="Change parts of a camera",
    openapi_extra=access("operate") | _MERGE_PATCH, responses=problems(404, 409, 412, 503),
)  # fmt: skip
async def patch_camera(
    *,
    camera: CameraId,
    body: CameraPatch,
    services: CurrentServices,
    principal: CurrentPrincipal,
    response: Response,
    conditions: CurrentConditions,
) -> Camera:
    """Change what is given, by the rules of a JSON merge patch (RFC 7396): null removes a setting."""
    _must_see(principal, camera)

    def decide(present: CameraView | None) -> Draft:
        view = _managed(present, camera)
        conditions.check(_etag(view))
        return _patched(view, body)

    view = await services.cameras.change(camera, decide)
    return _answer(_still_there(view, camera), response)


@router.delete(
    "/v1/cameras/{camera}", summary="Remove a camera", openapi_extra=access("operate"),
    status_code=204, responses=problems(404, 409, 412, 503),
)  # fmt: skip
async def delete_camera(
    camera: CameraId, services: CurrentServices, principal: CurrentPrincipal, conditions: CurrentConditions
) -> None:
    """Its edge stops it within seconds; frames that wait on the edge's disk are still sent."""
    _must_see(principal, camera)

    def decide(present: CameraView | None) -> None:
        conditions.check(_etag(_managed(present, camera)))

    await services.cameras.change(camera, decide)


@router.post(
    "/v1/cameras:validate", summary="Check a camera's settings",
    openapi_extra=access("operate"), responses=problems(404, 503),
)  # fmt: skip
async def validate_camera(body: CameraValidate, services: CurrentServices, principal: CurrentPrincipal) -> CameraCheck:
    """Check settings and source as a change would, without making it. Nothing connects to the camera."""
    _must_see(principal, body.camera)
    cameras = services.cameras.all()
    present = cameras.get(body.camera)
    draft = Draft(body.edge, body.settings, body.source)
    has_source = present is not None and present.wanted is not None
    errors = problems_of(draft, has_source=has_source, can_seal=services.settings.cameras_key is not None)
    notes = [] if body.edge in edges_of(cameras.values()) else [f"no edge {body.edge} has reported a camera yet"]
    if present is not None and present.managed == "file":
        notes.append(f"the own file of edge {present.edge or 'unknown'} has this camera, which wins")
    shown = present.wanted.source.shown if body.source is None and present and present.wanted else None
    if body.source is not None and not any(one.pointer == "/source" for one in errors):
        shown = body.source if body.source.startswith("@") else masked(check_url(body.source))
    return CameraCheck(
        valid=not errors,
        errors=[FieldNote(pointer=one.pointer, detail=one.detail) for one in errors],
        notes=notes,
        source=shown,
    )


def _patched(view: CameraView, body: CameraPatch) -> Draft:
    if view.wanted is None:
        raise Problem(409, "camera_damaged", "the camera's record is damaged", hint="Put the camera as a whole")
    given: dict[str, Any] = body.model_dump(exclude_unset=True)
    for name in ("edge", "source"):
        if name in given and given[name] is None:
            raise Problem(400, "invalid_camera", f"/{name}: it cannot be removed", hint="Give another, or leave it out")
    document = merge_patch({"edge": view.wanted.edge, "settings": view.wanted.settings}, given)
    return Draft(document["edge"], document.get("settings", {}), document.get("source"))


def _must_see(principal: Principal, camera: str) -> None:
    """A camera that the key may not see does not exist for it."""
    if not principal.sees(camera):
        raise _not_found(camera)


def _known(cameras: CameraDirectory, principal: Principal, camera: str) -> CameraView:
    _must_see(principal, camera)
    return _still_there(cameras.all().get(camera), camera)


def _still_there(view: CameraView | None, camera: str) -> CameraView:
    if view is None:
        raise _not_found(camera)
    return view


def _managed(view: CameraView | None, camera: str) -> CameraView:
    view = _still_there(view, camera)
    if view.managed == "file":
        raise Problem(
            409, "managed_by_file", f"camera {camera} is in the own file of edge {view.edge or 'unknown'}",
            hint="Change it there; or put it here and remove it there, then it goes on from here",
        )  # fmt: skip
    return view


def _not_found(camera: str) -> Problem:
    return Problem(404, "not_found", f"there is no camera {camera}", hint="GET /v1/cameras lists them")


def _etag(view: CameraView | None) -> str | None:
    if view is None or view.managed == "file":
        return None
    return str(view.wanted.generation) if view.wanted is not None else "damaged"


def _answer(view: CameraView, response: Response) -> Camera:
    if (etag := _etag(view)) is not None:
        response.headers["ETag"] = quoted(etag)
    return _shown(view, now_us())


def _shown(view: CameraView, at_us: int) -> Camera:
    wanted, refused = view.wanted, view.refused
    state, reason = view.state(at_us)
    return Camera(
        camera=view.camera,
        managed=view.managed,
        edge=view.edge,
        state=state,
        reason=reason,
        generation=wanted.generation if wanted else None,
        observed_generation=view.observed_generation,
        refused=Refused(generation=refused.generation, reason=refused.reason, hint=refused.hint) if refused else None,
        source=wanted.source.shown if wanted else None,
        settings=wanted.settings if wanted else None,
        changed_at=wanted.at if wanted else None,
    )
