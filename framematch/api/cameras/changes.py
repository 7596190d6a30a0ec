"""Makes the record of a wanted camera out of a request, and says what is wrong with it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framematch.api.problems import FieldProblem, Problem
from framematch.core.camera_settings import (
    GENERATION_MAX,
    RECORD_BYTES_MAX,
    SETTINGS_SCHEMA,
    WantedCamera,
    WantedSource,
    check_settings,
    check_url,
    encode_wanted,
    masked,
    secret_name,
)
from framematch.core.errors import UsageError
from framematch.core.redact import redact_url
from framematch.core.sealing import SourceSeal
from framematch.core.timestamps import now_us, to_rfc3339

_SOURCE_POINTER = "/source"
_NO_KEY = "a URL cannot be encrypted: the API has no cameras_key. Set it, or give @NAME"


@dataclass(frozen=True)
class Draft:
    """What a client wants of a camera. `source` None: as before."""

    edge: str
    settings: Mapping[str, Any]
    source: str | None = None


def problems_of(draft: Draft, *, has_source: bool, can_seal: bool) -> tuple[FieldProblem, ...]:
    """What is wrong with a draft; `has_source`: there is one from before. No text contains the source."""
    found = [
        FieldProblem(
            "/" + "/".join(_escaped(str(part)) for part in ("settings", *one.path)),
            redact_url(f"{one.reason}. {one.hint}"),
        )
        for one in check_settings(draft.settings)
    ]
    if draft.source is None:
        if not has_source:
            found.append(FieldProblem(_SOURCE_POINTER, "a new camera needs a source"))
        return tuple(found)
    try:
        secret = secret_name(draft.source)
        if secret is None:
            check_url(draft.source)
    except UsageError as error:
        found.append(FieldProblem(_SOURCE_POINTER, f"{error.message}. {error.hint}"))
    else:
        if secret is None and not can_seal:
            found.append(FieldProblem(_SOURCE_POINTER, _NO_KEY))
    return tuple(found)


def wanted_from(
    camera: str, draft: Draft, before: WantedCamera | None, seal: SourceSeal | None, generation: int
) -> WantedCamera:
    """The record; its generation is at least `generation`, and above that of `before`.

    Raises:
        Problem: the draft is not possible (400).
    """
    if errors := problems_of(draft, has_source=before is not None, can_seal=seal is not None):
        raise Problem(
            400, "invalid_camera", f"{errors[0].pointer}: {errors[0].detail}",
            hint="See docs/cameras.md for sources, and docs/settings.md for the settings of a camera", errors=errors,
        )  # fmt: skip
    wanted = WantedCamera(
        schema=SETTINGS_SCHEMA,
        camera=camera,
        generation=min(GENERATION_MAX, max(generation, before.generation + 1 if before else 1)),
        at=to_rfc3339(now_us()),
        edge=draft.edge,
        source=_source(camera, draft.source, before, seal),
        settings=dict(draft.settings),
    )
    if len(encode_wanted(wanted)) > RECORD_BYTES_MAX:
        raise Problem(
            400, "invalid_camera", f"the camera has more than {RECORD_BYTES_MAX:,} bytes", hint="Use fewer masks"
        )
    return wanted


def _source(camera: str, source: str | None, before: WantedCamera | None, seal: SourceSeal | None) -> WantedSource:
    if source is not None and (secret := secret_name(source)) is not None:
        return WantedSource(f"@{secret}", secret=secret)
    if source is not None and seal is not None:
        return WantedSource(masked(check_url(source)), sealed=seal.seal(camera, source))
    if before is None:
        raise AssertionError("checked by problems_of")
    return before.source


def _escaped(part: str) -> str:
    """A part of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
